import pino from "pino";
import pretty from "pino-pretty";

/** To stderr: readable on a terminal, JSON elsewhere. Never a label's or a file's content, only names and counts. */
export const log = process.stderr.isTTY
  ? pino(pretty({ sync: true, destination: 2, ignore: "pid,hostname", translateTime: "HH:MM:ss.l" }))
  : pino({ base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: true }));
