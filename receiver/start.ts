/**
 * The receiver as a whole: keys, target, journal, transfer, server, ticket. Whatever can be refused is
 * refused before the port opens, and nothing is written to the target before a sender has claimed it.
 */
import { open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { DIGESTS } from '../common/digest/digest.ts';
import { formatHostPort } from '../common/host-port.ts';
import { TransferError, errnoOf } from '../common/errors.ts';
import type { SigningKey } from '../common/trust/ssh-signature.ts';
import type { AllowedSigner } from '../common/trust/allowed-signers.ts';
import { makeApp } from './http/app.ts';
import { Authenticator } from './http/auth.ts';
import { Connections } from './http/connections.ts';
import { loadOrMakeIdentity, loadOrMakeSigningKey, type ReceiverIdentity } from './identity/certificate.ts';
import type { ReceiveOptions } from './cli.ts';
import { Activity } from './console/activity.ts';
import type { Log } from './console/log.ts';
import { RESPONSE_PROGRESS_TIMEOUT_MS } from './http/chunked-response.ts';
import { BODY_PROGRESS_TIMEOUT_MS } from './http/read-body.ts';
import { loadAllowedSigners } from './identity/load-signers.ts';
import { checkTicketFile, makeTicket, publicTicketPath, type Tickets } from './identity/make-ticket.ts';
import { findPortHolder } from './identity/port-holder.ts';
import { defaultStateDir, prepareStateDir } from './identity/state-dir.ts';
import { refuseOtherDisk } from './transfer/spot-check.ts';
import { startServer, type RunningServer, type ServerOptions } from './http/server.ts';
import { confirmDiscard } from './confirm-discard.ts';
import { ReceiptKeeper } from './keep-receipt.ts';
import { keepPresence } from './presence.ts';
import { pathOf, type DropPrivileges } from './privileges.ts';
import { takeTarget, type LostProgress, type TakenTarget } from './take-target.ts';
import { transferEvents } from './transfer-events.ts';
import { summarize } from './transfer-summary.ts';
import { planAdoption, startAdoption } from './transfer/adopt.ts';
import { Transfer } from './transfer/transfer.ts';
import { nothingToUpdate, openForUpdate } from './transfer/update.ts';
import { cutTarget, restoreLength } from './transfer/stream-size.ts';

/** Longer than writing a few blocks takes; after that the client retries. */
const MEMORY_WAIT_MS = 10_000;
/** Every address, IPv4 included: the socket is dual-stack. */
const EVERY_ADDRESS = '::';
const EVERY_IPV4_ADDRESS = '0.0.0.0';

export interface ReceiverEvents {
  onSealed(): void;
  onJournalBroken(error: TransferError): void;
}

export interface RunningReceiver extends Tickets {
  readonly transfer: Transfer;
  readonly content: readonly string[];
  readonly isResumed: boolean;
  /** The other name of the target under which the transfer began. */
  readonly begunAs: string | undefined;
  readonly server: RunningServer;
  /** Whose own keys may sign tokens. */
  readonly signers: readonly AllowedSigner[];
  /** Answers 503 to new requests, lets the others end, flushes, and closes journal and target. */
  stop(graceMs: number): Promise<void>;
}

/** @throws TransferError of every kind that docs/reference/ddt-receive.md names for a start. */
export async function startReceiver(
  options: ReceiveOptions,
  context: { clock: Clock; log: Log; events: ReceiverEvents; dropPrivileges: DropPrivileges },
): Promise<RunningReceiver> {
  const { clock, log, events, dropPrivileges } = context;
  await checkTicketFiles(options);
  const stateDir = resolve(options.stateDir ?? defaultStateDir());
  await prepareStateDir(stateDir);
  const keys = await loadKeys(options, stateDir);
  await using stack = new AsyncDisposableStack();
  const activity = stack.use(new Activity({ log, clock }));
  const { taken, transfer } = await openAll(options, stateDir, { ...context, activity }, stack);
  const folderPath = dirname(transfer.journal.path);
  const folder = stack.use(await open(folderPath, 'r'));
  let isDraining = false;
  const receipts = new ReceiptKeeper(pathOf(folder), log);
  const connections = new Connections({
    clock,
    connectionsMax: options.maxConnections,
    onRefused: (address, reason) => activity.connectionRefused(address, reason),
  });
  const app = makeApp({
    transfer,
    connections,
    authenticator: makeAuthenticator(transfer, keys, clock),
    key: keys.key,
    clock,
    log,
    activity,
    isDraining: () => isDraining,
    onSealed: () => {
      receipts.keep(transfer);
      events.onSealed();
    },
    bodyProgressTimeoutMs: BODY_PROGRESS_TIMEOUT_MS,
    responseProgressTimeoutMs: RESPONSE_PROGRESS_TIMEOUT_MS,
    memoryWaitMs: MEMORY_WAIT_MS,
  });
  const ready = Promise.withResolvers<void>();
  const fetch: ServerOptions['fetch'] = async (request, env) => await app.fetch(request, env);
  const server = await listen(options, keys.identity, { fetch, connections, ready: ready.promise });
  const tickets = await issueTickets(options, { transfer, keys, server, clock });
  const privileges = await dropPrivileges({
    path: folderPath,
    folder,
    probe: async () => await transfer.target.lengthBytes(),
  });
  stack.use(await keepPresence(pathOf(folder), () => summarize(transfer)));
  if (privileges.outcome === 'kept') log.warning(`keeps all rights of root: ${privileges.reason}`);
  ready.resolve();
  const resources = stack.move();
  return {
    transfer,
    content: taken.content,
    isResumed: taken.isResumed,
    begunAs: taken.begunAs,
    server,
    ...tickets,
    signers: keys.signers,
    stop: async (graceMs) => {
      isDraining = true;
      await server.close(graceMs);
      try {
        await receipts.finish();
        await transfer.opened?.durability.flush();
      } finally {
        await resources.disposeAsync();
      }
    },
  };
}

async function issueTickets(
  options: ReceiveOptions,
  context: { transfer: Transfer; keys: Keys; server: RunningServer; clock: Clock },
): Promise<Tickets> {
  const { transfer, keys, server, clock } = context;
  const { key, identity } = keys;
  return await makeTicket(
    { ...options, listenHost: server.host },
    { transferId: transfer.id, record: transfer.journal, key, pin: identity.pin, port: server.port, clock },
  );
}

async function checkTicketFiles(options: ReceiveOptions): Promise<void> {
  const { ticketFile, readTicketFile, allowSigners, target } = options;
  const isPublicToo = ticketFile !== undefined && allowSigners !== undefined;
  const publicFile = isPublicToo ? publicTicketPath(ticketFile) : undefined;
  for (const file of [ticketFile, readTicketFile, publicFile]) {
    if (file !== undefined) await checkTicketFile(file, target);
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
  clock: Clock,
): Authenticator {
  return new Authenticator({
    audience: identity.pin,
    transferId: transfer.id,
    trustedKeys: [key.publicKey],
    signers,
    clock,
    issuedAtSeconds: Number(transfer.journal.property('ticketIssuedAt') ?? 0),
  });
}

async function loadKeys(options: ReceiveOptions, stateDir: string): Promise<Keys> {
  const { tlsCert, tlsKey, allowSigners } = options;
  const signers = allowSigners === undefined ? [] : await loadAllowedSigners(allowSigners);
  const identity = await loadOrMakeIdentity(stateDir, {
    ...(tlsCert === undefined ? {} : { certificatePath: tlsCert }),
    ...(tlsKey === undefined ? {} : { keyPath: tlsKey }),
  });
  return { identity, key: await loadOrMakeSigningKey(stateDir), signers };
}

/** Target, journal and transfer; they are closed with the stack. */
async function openAll(
  options: ReceiveOptions,
  stateDir: string,
  context: OpenContext,
  stack: AsyncDisposableStack,
): Promise<{ taken: TakenTarget; transfer: Transfer }> {
  const confirmLoss = async (lost: LostProgress): Promise<void> =>
    await confirmDiscard(lost, options.isConfirmed);
  const taken = stack.use(await takeTarget({ ...options, confirmDiscard: confirmLoss }, stateDir));
  if (options.isUpdate) {
    if (!taken.isResumed) throw nothingToUpdate(taken.target.identity.path);
    if (openForUpdate(taken.journal))
      context.log.audit('opened the sealed copy again, to bring it up to date', { action: 'update' });
  }
  const transfer = openTransfer(taken, options, context);
  stack.defer(async () => {
    transfer.opened?.durability.close();
    await transfer.adoption?.stop();
    await transfer.opened?.verifier?.stop();
  });
  if (transfer.opened !== undefined) {
    await refuseOtherDisk(transfer.target, transfer.opened);
    await cutTarget(transfer, transfer.opened);
    await restoreLength(transfer);
  } else if (options.isAdoption) planAdoption(transfer);
  await startAdoption(transfer);
  transfer.startVerifying();
  return { taken, transfer };
}

interface OpenContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly events: ReceiverEvents;
  readonly activity: Activity;
}

function openTransfer(
  { target, places, journal, content }: TakenTarget,
  options: ReceiveOptions,
  context: OpenContext,
): Transfer {
  const { clock, log, events, activity } = context;
  const { path } = target.identity;
  return new Transfer({
    target,
    journal,
    content,
    places,
    memoryBytes: options.memoryBytes,
    connectionsMax: options.maxConnections,
    isReadBack: options.isReadBack,
    clock,
    digests: DIGESTS,
    events: {
      ...transferEvents(path, log, (error) => events.onJournalBroken(error)),
      onEpochEnd: (error, lostBlocks) => activity.targetFailed(error, lostBlocks),
    },
  });
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
