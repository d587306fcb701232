import { RingsideError } from "../errors.ts";

/** What a request carries. The fields of `tls` are those of Bun's fetch: PEM texts. */
export interface Credentials {
  headers: Record<string, string>;
  tls: Bun.TLSOptions;
}

/** How the API server is reached. */
export interface Access {
  /** "https://10.96.0.1:443", without a slash at its end. */
  server: string;
  /**
   * For the next request: read anew, so that tokens and certificates may change at any time.
   * @param refused the last ones were: what is remembered of them is wrong
   * @throws {RingsideError} where they cannot be had now
   */
  credentials(refused: boolean): Promise<Credentials>;
}

/** The API server did not give what was asked for. */
export class ApiError extends RingsideError {
  /**
   * @param status     of HTTP; undefined: it did not answer
   * @param retryAfter milliseconds that it asks us to wait
   */
  constructor(
    step: string,
    object: string,
    remedy: string,
    readonly status: number | undefined,
    readonly retryAfter?: number,
    options?: ErrorOptions,
  ) {
    super(step, object, remedy, options);
  }
}

/** Of an error's text: enough for a Status with its message. */
const MOST_ERROR = 16 << 10;
const LONGEST_MESSAGE = 300;

/** Asks the API server, and makes one clear error of whatever goes wrong. */
export class ApiClient {
  private refused = false;

  constructor(private readonly access: Access) {}

  /**
   * @param step a verb phrase for errors: "watch pods"
   * @param path of the resource, with its query
   * @returns a response of status 200, whose body is not read yet
   * @throws {ApiError}
   */
  async get(step: string, path: string, signal: AbortSignal): Promise<Response> {
    const { server } = this.access;
    let response: Response;
    try {
      const { headers, tls } = await this.access.credentials(this.refused);
      response = await fetch(`${server}${path}`, {
        headers: { accept: "application/json", ...headers },
        tls,
        signal,
        redirect: "manual", // a token goes to this server and no other
        // Bun's own would end a silent watch.
        timeout: false,
      } as RequestInit);
    } catch (cause) {
      throw new ApiError(step, server, remedyOf(cause), undefined, undefined, { cause });
    }
    this.refused = response.status === 401;
    if (response.status === 200) return response;
    const said = await message(response);
    const object = `${server} answers ${response.status}${said === "" ? "" : ` (${said})`}`;
    throw new ApiError(step, object, remedyFor(response.status, path), response.status, retryAfter(response));
  }
}

function remedyOf(cause: unknown): string {
  if (cause instanceof RingsideError) return cause.remedy;
  const { code = "" } = cause as NodeJS.ErrnoException;
  return /CERT|SSL|TLS|SELF_SIGNED|VERIFY/.test(code)
    ? "Its certificate must be for this name or address, and by an authority of the CA file."
    : "It is asked again until it answers; look whether it runs, and whether a network policy forbids the way to it.";
}

function remedyFor(status: number, path: string): string {
  switch (status) {
    case 401:
      return "The token or client certificate must be one that the server knows, and not out of date.";
    case 403: {
      // "/api/v1/pods", "/apis/GROUP/v1/endpointslices"
      const parts = path.replace(/\?.*/, "").split("/");
      const [group, resource] = [parts[1] === "apis" ? parts[2] : "", parts.at(-1)];
      return `A ClusterRole must have the rule {apiGroups: ["${group}"], resources: ["${resource}"], verbs: ["list", "watch"]}, and a ClusterRoleBinding must give it to this account.`;
    }
    default:
      return "It is asked again later.";
  }
}

/** What an error's Status says, for a log: printable, and not long. */
async function message(response: Response): Promise<string> {
  let text = "";
  try {
    const decoder = new TextDecoder();
    for await (const chunk of response.body ?? []) {
      text += decoder.decode(chunk, { stream: true });
      if (text.length >= MOST_ERROR) break;
    }
  } catch {
    // The status says what matters.
  }
  let said = "";
  try {
    const status = JSON.parse(text);
    if (typeof status?.message === "string") said = status.message;
  } catch {
    said = text;
  }
  return said
    .slice(0, LONGEST_MESSAGE)
    .replace(/[^\x20-\x7e]+/g, " ")
    .trim();
}

/** Seconds, as Kubernetes says it; a date is no answer that it gives. */
function retryAfter(response: Response): number | undefined {
  const value = response.headers.get("retry-after") ?? "";
  return /^\d{1,9}$/.test(value) ? Number(value) * 1000 : undefined;
}
