/** The receiver's real HTTPS service in this process, on a free port of 127.0.0.1, over any target. */
import { createHash } from 'node:crypto';
import { Agent } from 'node:https';
import { join } from 'node:path';
import { systemClock, type Clock } from '../../common/clock.ts';
import { DIGESTS, type BlockDigest, type DigestAlgorithm } from '../../common/digest/digest.ts';
import type { TransferError } from '../../common/errors.ts';
import { makeSigningKey, type SigningKey } from '../../common/trust/ssh-signature.ts';
import { formatTicket } from '../../common/trust/ticket.ts';
import { mintToken, type TokenPayload } from '../../common/trust/token.ts';
import { claimTransfer } from '../../receiver/transfer/claim.ts';
import { makeApp } from '../../receiver/http/app.ts';
import { Connections, type StrangerLimits } from '../../receiver/http/connections.ts';
import type { AppEnv, AppOptions } from '../../receiver/http/route-context.ts';
import { Authenticator } from '../../receiver/http/auth.ts';
import { loadOrMakeIdentity } from '../../receiver/identity/certificate.ts';
import type { Journal } from '../../receiver/journal/journal.ts';
import { SqliteJournal } from '../../receiver/journal/sqlite-journal.ts';
import { Activity } from '../../receiver/console/activity.ts';
import { makeLog } from '../../receiver/console/log.ts';
import { startServer, type RunningServer, type ServerLimits } from '../../receiver/http/server.ts';
import type { Target } from '../../receiver/target/target.ts';
import { Transfer } from '../../receiver/transfer/transfer.ts';
import { ask, type Answer, type RequestOptions } from './https-client.ts';
import { MemoryTarget } from './memory-target.ts';
import { claimOf, fastTempDir } from './open-transfer.ts';

/** Tests of tokens open many connections without a good one. */
const MANY = { burst: 1000, perSecond: 1000 };

export interface ReceiverAppOptions {
  /** Default: a new one in memory. */
  readonly target?: Target;
  readonly journal?: Journal;
  readonly clock?: Clock;
  /** Blocks of the claim that is made at once; null leaves the transfer unclaimed. Default 8. */
  readonly blockCount?: number | null;
  /** Of the claim; default SHA-256. */
  readonly digest?: DigestAlgorithm;
  /** That the receiver can compute; default all. */
  readonly digests?: readonly BlockDigest[];
  /** Default: durable is enough. */
  readonly isReadBack?: boolean;
  readonly connectionsMax?: number;
  readonly strangerLimits?: Partial<StrangerLimits>;
  /** Memory for blocks; default is room for many. */
  readonly memoryBytes?: number;
  readonly memoryWaitMs?: number;
  readonly bodyProgressTimeoutMs?: number;
  readonly responseProgressTimeoutMs?: number;
  readonly limits?: Partial<ServerLimits>;
  /** Answers some requests in its place, on the real connection; undefined leaves it to the receiver. */
  readonly lie?: Lie;
  /** As a receiver of version 0.1, which does not know `POST /copy`. */
  readonly isWithoutCopy?: boolean;
}

/** @param truth asks the receiver. */
export type Lie = (
  request: { readonly method: string; readonly path: string; readonly env: AppEnv['Bindings'] },
  truth: () => Promise<Response>,
) => Promise<Response> | undefined;

export interface ReceiverApp extends AsyncDisposable {
  readonly port: number;
  readonly token: string;
  /** Who asks with that token, as the log names it. */
  readonly actor: string;
  readonly pin: string;
  readonly key: SigningKey;
  readonly ticket: string;
  readonly transfer: Transfer;
  readonly server: RunningServer;
  /** `GET /transfer` and so on, without those that only refuse. */
  readonly routes: readonly string[];
  /** Messages of the log, with their level before all but `info`. */
  readonly logged: string[];
  readonly epochEnds: TransferError[];
  sealedCount: number;
  isDraining: boolean;
  /** Set it as what a broken journal does. */
  failure: TransferError | undefined;
  /** A token of the app's key; members of the payload replace those of a good one. */
  mint(payload?: Partial<TokenPayload>, key?: SigningKey): string;
  request(method: string, path: string, options?: RequestOptions): Promise<Answer>;
}

const LIMITS: ServerLimits = {
  handshakeTimeoutMs: 5000,
  headersTimeoutMs: 5000,
  keepAliveTimeoutMs: 5000,
  responseTimeoutMs: 5000,
  headerBytesMax: 8 * 1024,
};
const DAY_SECONDS = 86_400;

/** What tests look at and change while it runs. */
interface Observed {
  readonly logged: string[];
  readonly epochEnds: TransferError[];
  sealedCount: number;
  isDraining: boolean;
  failure: TransferError | undefined;
}

async function openTransfer(
  options: ReceiverAppOptions,
  journal: Journal,
  { epochEnds, logged }: Observed,
  activity: Activity,
): Promise<Transfer> {
  const transfer = new Transfer({
    target: options.target ?? new MemoryTarget(),
    journal,
    memoryBytes: options.memoryBytes ?? 64 * 1024 * 1024,
    connectionsMax: options.connectionsMax ?? 256,
    isReadBack: options.isReadBack ?? false,
    clock: options.clock ?? systemClock,
    digests: options.digests ?? DIGESTS,
    events: {
      onEpochEnd: (error, lostBlocks) => {
        epochEnds.push(error);
        activity.targetFailed(error, lostBlocks);
      },
      onJournalBroken: (error) => logged.push(error.message),
    },
  });
  const { blockCount = 8, digest } = options;
  if (blockCount !== null && transfer.opened === undefined) {
    await claimTransfer(transfer, { ...claimOf(blockCount), ...(digest === undefined ? {} : { digest }) });
  }
  return transfer;
}

function openApp(
  options: ReceiverAppOptions,
  parts: Pick<AppOptions, 'transfer' | 'connections' | 'key' | 'clock' | 'log' | 'activity'> & {
    pin: string;
  },
  observed: Observed,
): ReturnType<typeof makeApp> {
  const { transfer, connections, key, pin, clock, log, activity } = parts;
  return makeApp({
    transfer,
    connections,
    authenticator: new Authenticator({
      audience: pin,
      transferId: transfer.id,
      trustedKeys: [key.publicKey],
      clock,
    }),
    key,
    clock,
    log,
    activity,
    isDraining: () => observed.isDraining,
    failure: () => observed.failure,
    onSealed: () => observed.sealedCount++,
    bodyProgressTimeoutMs: options.bodyProgressTimeoutMs ?? 10_000,
    responseProgressTimeoutMs: options.responseProgressTimeoutMs ?? 10_000,
    memoryWaitMs: options.memoryWaitMs ?? 10_000,
  });
}

export async function startReceiverApp(options: ReceiverAppOptions = {}): Promise<ReceiverApp> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await fastTempDir());
  const { clock = systemClock, connectionsMax = 256 } = options;
  const { certificatePem, keyPem, pin } = await loadOrMakeIdentity(folder.path);
  const journal = options.journal ?? (await SqliteJournal.open(join(folder.path, 'journal.db')));
  if (options.journal === undefined) building.defer(() => journal.close());
  const observed: Observed = {
    logged: [],
    epochEnds: [],
    sealedCount: 0,
    isDraining: false,
    failure: undefined,
  };
  const log = makeLog('json', clock, (line) => {
    const { level, message } = JSON.parse(line) as { level: string; message: string };
    observed.logged.push(level === 'info' ? message : `${level}: ${message}`);
  });
  const activity = building.use(new Activity({ log, clock }));
  const transfer = await openTransfer(options, journal, observed, activity);
  building.defer(async () => {
    transfer.opened?.durability.close();
    await transfer.opened?.verifier?.stop();
  });
  const key = makeSigningKey();
  // Not by the clock of the transfer: a fake one would never let another connection in.
  const connections = new Connections({
    clock: systemClock,
    connectionsMax,
    onRefused: (address, reason) => activity.connectionRefused(address, reason),
    limits: { strange: MANY, strangeTotal: MANY, ...options.strangerLimits },
  });
  const app = openApp(options, { transfer, connections, key, pin, clock, log, activity }, observed);
  const server = await startServer({
    fetch: async (request, env) => {
      if (options.isWithoutCopy === true) env.incoming.url = env.incoming.url?.replace(/^\/copy/, '/unknown');
      const truth = async (): Promise<Response> => await app.fetch(request, env);
      const { method = '', url: path = '' } = env.incoming;
      return await (options.lie?.({ method, path, env }, truth) ?? truth());
    },
    certificatePem,
    keyPem,
    host: '127.0.0.1',
    port: 0,
    connections,
    limits: { ...LIMITS, ...options.limits },
  });
  building.defer(async () => await server.close(0));
  const agent = new Agent({ keepAlive: true, rejectUnauthorized: false });
  building.defer(() => agent.destroy());
  const mint = (changes: Partial<TokenPayload> = {}, signer = key): string => {
    const iat = Math.floor(clock.wallMs() / 1000);
    const good = { v: 1, aud: pin, tid: transfer.id, scope: ['write'], iat, exp: iat + DAY_SECONDS } as const;
    return mintToken({ ...good, ...changes }, signer);
  };
  const token = mint();
  const { port } = server;
  const request: ReceiverApp['request'] = async (method, path, { headers = {}, body, token: given } = {}) => {
    const authorization = given === null ? {} : { authorization: `Bearer ${given ?? token}` };
    return await ask(agent, port, { method, path, body, headers: { ...authorization, ...headers } });
  };
  const parts = building.move();
  const dispose = async (): Promise<void> => await parts.disposeAsync();
  const ticket = formatTicket({ host: '127.0.0.1', port, pin, token });
  const hash = createHash('sha256').update(token).digest('hex').slice(0, 16);
  const actor = `127.0.0.1 (token ${hash})`;
  const fixed = { port, token, actor, pin, key, ticket, transfer, server, mint, request };
  return Object.assign(observed, fixed, { routes: routesOf(app), [Symbol.asyncDispose]: dispose });
}

function routesOf({ routes }: ReturnType<typeof makeApp>): string[] {
  return routes.flatMap(({ method, path }) => (method === 'ALL' ? [] : [`${method} ${path}`]));
}
