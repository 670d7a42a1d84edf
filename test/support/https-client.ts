/** The least that a client of the receiver needs; it trusts anybody. */
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { request as httpsRequest, type Agent } from 'node:https';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** The `code` of a problem document; undefined for other answers. */
  readonly code: string | undefined;
  /** The body as a JSON object. */
  json(): Record<string, unknown>;
  /** Whether the server said 100 before. */
  readonly isContinued: boolean;
}

export interface RequestOptions {
  readonly headers?: OutgoingHttpHeaders;
  readonly body?: Buffer | string;
  /** Instead of the app's own; null sends none. */
  readonly token?: string | null;
}

export interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | string | undefined;
}

/** One request over one of the agent's connections. Rejects when the connection ends without an answer. */
export async function ask(agent: Agent, port: number, { method, path, headers, body }: Ask): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>();
  const length =
    body === undefined || 'transfer-encoding' in headers ? {} : { 'content-length': Buffer.byteLength(body) };
  const target = { host: '127.0.0.1', port, agent, method, path, headers: { ...length, ...headers } };
  let isContinued = false;
  const request = httpsRequest(target, (response) => {
    const pieces: Buffer[] = [];
    response.on('data', (piece: Buffer) => pieces.push(piece)).on('error', reject);
    response.on('end', () => {
      const { statusCode = 0, headers: answered } = response;
      resolve(answerOf(statusCode, answered, Buffer.concat(pieces), isContinued));
    });
  });
  request.on('error', reject);
  if (headers['expect'] === undefined) request.end(body);
  else {
    request.once('continue', () => {
      isContinued = true;
      request.end(body);
    });
    request.flushHeaders();
  }
  return await promise;
}

function answerOf(status: number, headers: IncomingHttpHeaders, body: Buffer, isContinued: boolean): Answer {
  const json = (): Record<string, unknown> => JSON.parse(body.toString('utf8')) as Record<string, unknown>;
  const isProblem = headers['content-type'] === 'application/problem+json' && body.length > 0;
  const code = isProblem ? String(json()['code']) : undefined;
  return { status, headers, body, code, json, isContinued };
}
