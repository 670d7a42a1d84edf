/**
 * The receiver as a whole: keys, targets, journals, transfers, server, tickets. Whatever can be refused is
 * refused before the port opens, and nothing is written to a target before a sender has claimed it.
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { rm, rmdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { formatHostPort } from '../common/host-port.ts';
import { TransferError, errnoOf } from '../common/errors.ts';
import type { Trouble } from '../common/hooks.ts';
import type { SigningKey } from '../common/trust/ssh-signature.ts';
import type { AllowedSigner } from '../common/trust/allowed-signers.ts';
import { makeApp } from './http/app.ts';
import { Authenticator, SignatureChecks } from './http/auth.ts';
import { Connections } from './http/connections.ts';
import { serveAll } from './http/serve-all.ts';
import { isStoreName, parseStoreName } from '../common/store/store-name.ts';
import { keysInStore, type KeyPlace } from './identity/key-place.ts';
import { loadOrMakeIdentity, loadOrMakeSigningKey, type ReceiverIdentity } from './identity/certificate.ts';
import type { ReceiveOptions } from './cli.ts';
import { RESPONSE_PROGRESS_TIMEOUT_MS } from './http/chunked-response.ts';
import { BODY_PROGRESS_TIMEOUT_MS } from './http/read-body.ts';
import { loadAllowedSigners } from './identity/load-signers.ts';
import {
  checkTicketFile,
  makeTicket,
  publicTicketPath,
  writeTickets,
  type Tickets,
} from './identity/make-ticket.ts';
import { findPortHolder } from './identity/port-holder.ts';
import { defaultStateDir, prepareStateDir } from './identity/state-dir.ts';
import { startServer, type RunningServer, type ServerOptions } from './http/server.ts';
import { journalPathOf, removeJournal } from './journals.ts';
import { takeServed, type OpenServed, type ServedContext } from './open-served.ts';
import { targetPathOf } from './open-target.ts';
import { keepPresence } from './presence.ts';
import { pathOf, type DropPrivileges } from './privileges.ts';
import { refuseOverlaps } from './refuse-overlaps.ts';
import { shareMemory } from './transfer/memory-budget.ts';
import { keepForOthers } from './transfer/shared-transfer.ts';
import type { Transfer } from './transfer/transfer.ts';
import { summarize } from './transfer-summary.ts';

/** Longer than writing a few blocks takes; after that the client retries. */
const MEMORY_WAIT_MS = 10_000;
/** Every address, IPv4 included: the socket is dual-stack. */
const EVERY_ADDRESS = '::';
const EVERY_IPV4_ADDRESS = '0.0.0.0';

export interface ReceiverEvents {
  readonly onSealed: () => void;
  /** Once for each seal, when its receipt was written, or could not be. @param path of the receipt. */
  readonly onReceipt: (transfer: Transfer, path: string | undefined) => void;
  /** Something that a person should know of. */
  readonly onTrouble: (trouble: Trouble) => void;
  /** A transfer refuses everything after this; others continue. Called once for each. */
  readonly onFailed: (error: TransferError) => void;
}

/** One of the transfers, for one of the targets. */
export interface Served extends Tickets {
  readonly transfer: Transfer;
  readonly content: readonly string[];
  readonly isResumed: boolean;
  /** The other name of the target under which the transfer began. */
  readonly begunAs: string | undefined;
  /** Why it refuses everything. */
  readonly failure: TransferError | undefined;
}

export interface RunningReceiver {
  /** In the order of the targets. */
  readonly served: readonly Served[];
  readonly server: RunningServer;
  /** Whose own keys may sign tokens. */
  readonly signers: readonly AllowedSigner[];
  /** Answers 503 to new requests, lets the others end, flushes, and closes journals and targets. */
  readonly stop: (graceMs: number) => Promise<void>;
}

export interface ReceiverContext extends Pick<ServedContext, 'clock' | 'log' | 'watchOf'> {
  readonly events: ReceiverEvents;
  readonly dropPrivileges: DropPrivileges;
}

/** @throws TransferError of every kind that docs/reference/ddt-receive.md names for a start. */
export async function startReceiver(
  options: ReceiveOptions,
  context: ReceiverContext,
): Promise<RunningReceiver> {
  const { clock, log, events, dropPrivileges, watchOf } = context;
  const { targets } = options;
  await checkTicketFiles(options);
  const stateDir = resolve(options.stateDir ?? defaultStateDir());
  await prepareStateDir(stateDir);
  const keys = await loadKeysOf(options, stateDir);
  await refuseOverlaps(targets);
  await using stack = new AsyncDisposableStack();
  const sharedMemory = shareMemory(options.memoryBytes, targets.length);
  const { onFailed, onTrouble } = events;
  const serving = { clock, log, stateDir, sharedMemory, onFailed, onTrouble, watchOf };
  const all = await openAll(options, serving, stack);
  const drain = { isDraining: false };
  const connections = new Connections({
    clock,
    connectionsMax: options.maxConnections,
    onRefused: (address, reason) => all[0]?.activity.connectionRefused(address, reason),
  });
  const fetch = serveAll(makeApps(all, { connections, keys, clock, drain, events }));
  const ready = Promise.withResolvers<void>();
  const server = await listen(options, keys.identity, { fetch, connections, ready: ready.promise });
  const tickets = await issueTickets(options, { all, keys, server, clock });
  for (const { transfer } of all) await keepForOthers(transfer);
  const privileges = await dropPrivileges({
    folders: all.map(({ folderPath, folder }) => ({ path: folderPath, folder })),
    probe: async () =>
      await Promise.all(all.map(async ({ transfer }) => await transfer.target.lengthBytes())),
  });
  for (const { folder, transfer } of all)
    stack.use(await keepPresence(pathOf(folder), () => summarize(transfer)));
  if (privileges.outcome === 'kept') log.warning(`keeps all rights of root: ${privileges.reason}`);
  ready.resolve();
  const resources = stack.move();
  return {
    served: all.map((one, at) => servedOf(one, tickets[at])),
    server,
    signers: keys.signers,
    stop: async (graceMs) => {
      drain.isDraining = true;
      for (const { transfer } of all) transfer.target.stopWaiting?.();
      await server.close(graceMs);
      try {
        await flushAll(all);
      } finally {
        await resources.disposeAsync();
      }
    },
  };
}

/** All of them or none: when one is refused, what was made for those before it is removed. */
async function openAll(
  options: ReceiveOptions,
  serving: ServedContext,
  stack: AsyncDisposableStack,
): Promise<readonly OpenServed[]> {
  const made: Made[] = [];
  try {
    const opening: (() => Promise<OpenServed>)[] = [];
    for (const target of options.targets) {
      const path = targetPathOf(target);
      const journal = journalPathOf(path, serving.stateDir);
      const present = { path: existsSync(path), journal: existsSync(journal) };
      opening.push(await takeServed(target, options, serving, stack));
      made.push({
        path: present.path ? undefined : path,
        journal: present.journal ? undefined : journal,
      });
    }
    const all: OpenServed[] = [];
    for (const open of opening) all.push(await open());
    return all;
  } catch (error) {
    await stack.disposeAsync();
    for (const one of made) await unmake(one);
    throw error;
  }
}

/** What was not there before this start. */
interface Made {
  readonly path: string | undefined;
  readonly journal: string | undefined;
}

async function unmake({ path, journal }: Made): Promise<void> {
  if (journal !== undefined) {
    await removeJournal(journal);
    await rmdir(dirname(journal)).catch(() => {});
  }
  if (path === undefined) return;
  // An export of a server has no path.
  const there = await stat(path).catch(() => undefined);
  if (there?.size === 0) await rm(path);
}

function servedOf(one: OpenServed, tickets: Tickets | undefined): Served {
  assert(tickets !== undefined);
  const { transfer, taken } = one;
  const { content, isResumed, begunAs } = taken;
  return {
    transfer,
    content,
    isResumed,
    begunAs,
    ...tickets,
    get failure() {
      return one.failure;
    },
  };
}

/** Each as far as it can be. @throws TransferError of the first that could not. */
async function flushAll(all: readonly OpenServed[]): Promise<void> {
  const flushes = all.map(async ({ receipts, transfer, failure }) => {
    await receipts.finish();
    if (failure === undefined) await transfer.opened?.durability.flush();
  });
  for (const flush of await Promise.allSettled(flushes)) if (flush.status === 'rejected') throw flush.reason;
}

interface AppParts {
  readonly connections: Connections;
  readonly keys: Keys;
  readonly clock: Clock;
  readonly drain: { readonly isDraining: boolean };
  readonly events: ReceiverEvents;
}

/** By the id of the transfer. */
function makeApps(
  all: readonly OpenServed[],
  { connections, keys, clock, drain, events }: AppParts,
): ReadonlyMap<string, ReturnType<typeof makeApp>> {
  const signatureChecks = new SignatureChecks(clock);
  return new Map(
    all.map((one) => {
      const { transfer, log, activity, receipts } = one;
      const app = makeApp({
        transfer,
        connections,
        authenticator: makeAuthenticator(transfer, keys, { clock, signatureChecks }),
        key: keys.key,
        clock,
        log,
        activity,
        isDraining: () => drain.isDraining,
        failure: () => one.failure,
        onSealed: () => {
          receipts.keep(transfer, (path) => events.onReceipt(transfer, path));
          events.onSealed();
        },
        bodyProgressTimeoutMs: BODY_PROGRESS_TIMEOUT_MS,
        responseProgressTimeoutMs: RESPONSE_PROGRESS_TIMEOUT_MS,
        memoryWaitMs: MEMORY_WAIT_MS,
      });
      return [transfer.id, app];
    }),
  );
}

/** In the order of the targets; they are written to their files as well. */
async function issueTickets(
  options: ReceiveOptions,
  context: { all: readonly OpenServed[]; keys: Keys; server: RunningServer; clock: Clock },
): Promise<readonly Tickets[]> {
  const { all, keys, server, clock } = context;
  const { key, identity } = keys;
  const tickets: Tickets[] = [];
  for (const { transfer } of all) {
    const own = { transferId: transfer.id, record: transfer.journal };
    const parts = { ...own, key, pin: identity.pin, port: server.port, clock };
    tickets.push(await makeTicket({ ...options, listenHost: server.host }, parts));
  }
  await writeTickets(options, tickets);
  return tickets;
}

async function checkTicketFiles(options: ReceiveOptions): Promise<void> {
  const { ticketFile, readTicketFile, allowSigners, targets } = options;
  const isPublicToo = ticketFile !== undefined && allowSigners !== undefined;
  const publicFile = isPublicToo ? publicTicketPath(ticketFile) : undefined;
  for (const file of [ticketFile, readTicketFile, publicFile]) {
    if (file !== undefined) for (const target of targets) await checkTicketFile(file, target);
  }
}

interface Keys {
  readonly identity: ReceiverIdentity;
  readonly key: SigningKey;
  readonly signers: readonly AllowedSigner[];
}

function makeAuthenticator(
  transfer: Transfer,
  { identity, key, signers }: Keys,
  shared: { readonly clock: Clock; readonly signatureChecks: SignatureChecks },
): Authenticator {
  return new Authenticator({
    audience: identity.pin,
    transferId: transfer.id,
    trustedKeys: [key.publicKey],
    signers,
    ...shared,
    issuedAtSeconds: Number(transfer.journal.property('ticketIssuedAt') ?? 0),
  });
}

/** Copies in an object store have the keys there: any receiver of the store has the same. */
async function loadKeysOf(options: ReceiveOptions, stateDir: string): Promise<Keys> {
  const name = options.targets.find((target) => isStoreName(target));
  if (name === undefined) return await loadKeys(options, stateDir);
  const { ObjectStore } = await import('../common/store/object-store.ts');
  const access = { endpoint: options.s3Endpoint, environment: process.env };
  await using store = await ObjectStore.open(parseStoreName(name), access);
  return await loadKeys(options, keysInStore(store));
}

async function loadKeys(options: ReceiveOptions, place: KeyPlace | string): Promise<Keys> {
  const { tlsCert, tlsKey, allowSigners } = options;
  const signers = allowSigners === undefined ? [] : await loadAllowedSigners(allowSigners);
  const identity = await loadOrMakeIdentity(place, {
    ...(tlsCert === undefined ? {} : { certificatePath: tlsCert }),
    ...(tlsKey === undefined ? {} : { keyPath: tlsKey }),
  });
  return { identity, key: await loadOrMakeSigningKey(place), signers };
}

/** On every address, IPv6 included where the machine has it, unless the operator names one. */
async function listen(
  options: ReceiveOptions,
  identity: ReceiverIdentity,
  serving: Pick<ServerOptions, 'fetch' | 'connections' | 'ready'>,
): Promise<RunningServer> {
  const { certificatePem, keyPem } = identity;
  const { listenHost, listenPort: port } = options;
  const listenOn = async (host: string): Promise<RunningServer> =>
    await startServer({ ...serving, certificatePem, keyPem, host, port });
  try {
    if (listenHost !== undefined) return await listenOn(listenHost);
    return await listenOn(EVERY_ADDRESS).catch(async (error: unknown) => {
      if (!['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(errnoOf(error) ?? '')) throw error;
      return await listenOn(EVERY_IPV4_ADDRESS);
    });
  } catch (error) {
    if (!(error instanceof TransferError) || errnoOf(error) !== 'EADDRINUSE') throw error;
    throw await portInUse(error, listenHost, port);
  }
}

/** @param host undefined: every address. */
async function portInUse(
  error: TransferError,
  host: string | undefined,
  port: number,
): Promise<TransferError> {
  const holder = await findPortHolder(host ?? EVERY_ADDRESS, port);
  const by = holder === undefined ? '' : ` by ${holder.name} (process ${holder.processId})`;
  const find = holder === undefined ? `find what uses it: ss -ltnp 'sport = :${port}'; or ` : '';
  const next = port === 65_535 ? port - 1 : port + 1;
  const other = `--listen ${host === undefined ? `:${next}` : formatHostPort(host, next)}`;
  return new TransferError('listen-failed', `${error.message}${by}`, {
    cause: error,
    hint: `${find}choose another port: ${other}`,
  });
}
