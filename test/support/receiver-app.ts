/** The receiver's real HTTPS service in this process, on a free port of 127.0.0.1, over any target. */
import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import { systemClock, type Clock } from '../../common/clock.ts';
import { digestOf } from '../../common/digest.ts';
import type { TransferError } from '../../common/errors.ts';
import { makeSigningKey, type SigningKey } from '../../common/ssh-signature.ts';
import { mintToken, type TokenPayload } from '../../common/token.ts';
import { makeApp } from '../../receiver/app.ts';
import { Authenticator } from '../../receiver/auth.ts';
import { loadOrMakeIdentity } from '../../receiver/certificate.ts';
import { SqliteJournal, type Journal } from '../../receiver/journal.ts';
import { makeLog } from '../../receiver/log.ts';
import { SenderLease } from '../../receiver/sender-lease.ts';
import { startServer, type RunningServer, type ServerLimits } from '../../receiver/server.ts';
import type { Target } from '../../receiver/target.ts';
import { Transfer } from '../../receiver/transfer.ts';
import { MemoryTarget } from './memory-target.ts';
import { claimOf, fastTempDir } from './open-transfer.ts';

export interface ReceiverAppOptions {
  /** Default: a new one in memory. */
  readonly target?: Target;
  readonly journal?: Journal;
  readonly clock?: Clock;
  /** Blocks of the claim that is made at once; null leaves the transfer unclaimed. Default 8. */
  readonly blockCount?: number | null;
  /** Default: durable is enough. */
  readonly isReadBack?: boolean;
  readonly connectionsMax?: number;
  /** Memory for blocks; default is room for many. */
  readonly memoryBytes?: number;
  readonly memoryWaitMs?: number;
  readonly bodyProgressTimeoutMs?: number;
  readonly limits?: Partial<ServerLimits>;
}

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

export interface ReceiverApp extends AsyncDisposable {
  readonly port: number;
  readonly pin: string;
  readonly token: string;
  readonly key: SigningKey;
  readonly transfer: Transfer;
  readonly server: RunningServer;
  /** Lines of the log. */
  readonly logged: string[];
  readonly epochEnds: TransferError[];
  sealedCount: number;
  isDraining: boolean;
  /** A token of the app's key; members of the payload replace those of a good one. */
  mint(payload?: Partial<TokenPayload>, key?: SigningKey): string;
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
}

const LIMITS: ServerLimits = {
  handshakeTimeoutMs: 5000,
  headersTimeoutMs: 5000,
  keepAliveTimeoutMs: 5000,
  headerBytesMax: 8 * 1024,
};
const DAY_SECONDS = 86_400;

export async function startReceiverApp(options: ReceiverAppOptions = {}): Promise<ReceiverApp> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await fastTempDir());
  const clock = options.clock ?? systemClock;
  const identity = await loadOrMakeIdentity(folder.path);
  const journal = options.journal ?? (await SqliteJournal.open(join(folder.path, 'journal.db')));
  if (options.journal === undefined) building.defer(() => journal.close());
  const epochEnds: TransferError[] = [];
  const logged: string[] = [];
  const transfer = new Transfer({
    target: options.target ?? new MemoryTarget(),
    journal,
    memoryBytes: options.memoryBytes ?? 64 * 1024 * 1024,
    connectionsMax: options.connectionsMax ?? 256,
    isReadBack: options.isReadBack ?? false,
    clock,
    digest: digestOf,
    events: {
      onEpochEnd: (error) => epochEnds.push(error),
      onJournalBroken: (error) => logged.push(error.message),
    },
  });
  building.defer(async () => {
    transfer.opened?.durability.close();
    await transfer.opened?.verifier?.stop();
  });
  if (options.blockCount !== null && transfer.opened === undefined)
    await transfer.claim(claimOf(options.blockCount ?? 8));
  const key = makeSigningKey();
  const payload = (): TokenPayload => {
    const iat = Math.floor(clock.wallMs() / 1000);
    return { v: 1, aud: identity.pin, tid: transfer.id, scope: ['write'], iat, exp: iat + DAY_SECONDS };
  };
  const token = mintToken(payload(), key);
  const running = { sealedCount: 0, isDraining: false };
  const app = makeApp({
    transfer,
    authenticator: new Authenticator({
      audience: identity.pin,
      transferId: transfer.id,
      trustedKeys: [key.publicKey],
      clock,
    }),
    lease: new SenderLease(clock),
    key,
    clock,
    log: makeLog('text', clock, (line) => logged.push(line)),
    isDraining: () => running.isDraining,
    onSealed: () => running.sealedCount++,
    bodyProgressTimeoutMs: options.bodyProgressTimeoutMs ?? 10_000,
    memoryWaitMs: options.memoryWaitMs ?? 10_000,
  });
  const server = await startServer({
    fetch: async (request, env) => await app.fetch(request, env),
    certificatePem: identity.certificatePem,
    keyPem: identity.keyPem,
    host: '127.0.0.1',
    port: 0,
    connectionsMax: options.connectionsMax ?? 256,
    limits: { ...LIMITS, ...options.limits },
  });
  building.defer(async () => await server.close(0));
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  building.defer(() => agent.destroy());
  const parts = building.move();
  return Object.assign(running, {
    ...{ port: server.port, pin: identity.pin, token, key, transfer, server, logged, epochEnds },
    mint: (changes: Partial<TokenPayload> = {}, other = key) =>
      mintToken({ ...payload(), ...changes }, other),
    request: async (
      method: string,
      path: string,
      { headers = {}, body, token: given = token }: RequestOptions = {},
    ) =>
      await ask(agent, server.port, {
        ...{ method, path, body },
        headers: given === null ? headers : { authorization: `Bearer ${given}`, ...headers },
      }),
    [Symbol.asyncDispose]: async () => await parts.disposeAsync(),
  });
}

interface Ask {
  readonly method: string;
  readonly path: string;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer | string | undefined;
}

async function ask(agent: Agent, port: number, { method, path, headers, body }: Ask): Promise<Answer> {
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
