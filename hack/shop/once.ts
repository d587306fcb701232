// The shop's cron job: one short connection with a few bytes, which must be counted like any other.
import { given, report } from "./program.ts";
import * as resp from "./resp.ts";
import { Client } from "./socket.ts";

const db = await Client.connect(given("DB"), 6379, resp.frame);
await db.exchange(resp.command("INCR", "reports"));
await db.close();
report();
