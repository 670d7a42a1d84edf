/**
 * The receiver as a whole: keys, journal, target, transfer, server, ticket. Everything that can be refused is
 * refused before the port opens, and nothing is written to the target before a sender has claimed it.
 */
import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { DIGESTS } from '../common/digest/digest.ts';
import { makeFolderDurably } from '../common/io/durable-file.ts';
import { placesOf } from '../common/disk/disk-places.ts';
import { TransferError } from '../common/errors.ts';
import type { Ticket } from '../common/trust/ticket.ts';
import { makeApp } from './http/app.ts';
import { Authenticator } from './http/auth.ts';
import { loadOrMakeIdentity, loadOrMakeSigningKey, prepareStateDir } from './identity/certificate.ts';
import type { ReceiveOptions } from './cli.ts';
import { DiskTarget } from './target/disk-target.ts';
import { SqliteJournal } from './journal/sqlite-journal.ts';
import { Activity } from './console/activity.ts';
import type { Log } from './console/log.ts';
import { BODY_PROGRESS_TIMEOUT_MS } from './http/read-body.ts';
import { makeTicket } from './identity/make-ticket.ts';
import { refuseOtherDisk } from './transfer/spot-check.ts';
import { startServer, type RunningServer } from './http/server.ts';
import { inspectTarget, sameIdentity, type TargetInspection } from './target/target-safety.ts';
import { recordOf, refuseInStateDir } from './transfer/target-record.ts';
import type { TargetIdentity } from './target/target.ts';
import { transferEvents } from './transfer-events.ts';
import { Transfer } from './transfer/transfer.ts';
import { cutTarget } from './transfer/stream-size.ts';

/** Longer than writing a few blocks takes; then the client comes again. */
const MEMORY_WAIT_MS = 10_000;

export interface ReceiverEvents {
  onSealed(): void;
  onJournalBroken(error: TransferError): void;
}

export interface RunningReceiver {
  readonly transfer: Transfer;
  readonly content: readonly string[];
  readonly isResumed: boolean;
  readonly server: RunningServer;
  readonly ticket: Ticket;
  /** Answers 503 from now on, lets requests end, flushes, and closes journal and target. */
  stop(graceMs: number): Promise<void>;
}

/** @throws TransferError of every kind that PROTOCOL.md and the README name for a start. */
export async function startReceiver(
  options: ReceiveOptions,
  context: { clock: Clock; log: Log; events: ReceiverEvents },
): Promise<RunningReceiver> {
  const { clock, log, events } = context;
  const stateDir = resolve(options.stateDir ?? defaultStateDir());
  await prepareStateDir(stateDir);
  const identity = await loadOrMakeIdentity(stateDir, {
    ...(options.tlsCert === undefined ? {} : { certificatePath: options.tlsCert }),
    ...(options.tlsKey === undefined ? {} : { keyPath: options.tlsKey }),
  });
  const key = await loadOrMakeSigningKey(stateDir);
  await refuseInStateDir(options.target, stateDir);
  await using opened = await openTransfer(options, stateDir, context);
  const { transfer, content, isResumed, activity } = opened;
  if (transfer.opened !== undefined) await refuseOtherDisk(transfer.target, transfer.opened);
  if (transfer.opened !== undefined) await cutTarget(transfer, transfer.opened);
  transfer.startVerifying();
  let isDraining = false;
  const app = makeApp({
    transfer,
    authenticator: new Authenticator({
      audience: identity.pin,
      transferId: transfer.id,
      trustedKeys: [key.publicKey],
      clock,
      issuedAtSeconds: Number(transfer.journal.property('ticketIssuedAt') ?? 0),
    }),
    key,
    clock,
    log,
    activity,
    isDraining: () => isDraining,
    onSealed: () => events.onSealed(),
    bodyProgressTimeoutMs: BODY_PROGRESS_TIMEOUT_MS,
    memoryWaitMs: MEMORY_WAIT_MS,
  });
  const server = await startServer({
    fetch: async (request, env) => await app.fetch(request, env),
    certificatePem: identity.certificatePem,
    keyPem: identity.keyPem,
    host: options.listenHost,
    port: options.listenPort,
    connectionsMax: options.maxConnections,
  });
  const ticket = await makeTicket(options, {
    transferId: transfer.id,
    record: transfer.journal,
    key,
    pin: identity.pin,
    port: server.port,
    clock,
  });
  const resources = opened.keep();
  return {
    transfer,
    content,
    isResumed,
    server,
    ticket,
    stop: async (graceMs) => {
      isDraining = true;
      await server.close(graceMs);
      try {
        await transfer.opened?.durability.flush();
      } finally {
        await resources.disposeAsync();
      }
    },
  };
}

function defaultStateDir(): string {
  if (process.geteuid?.() === 0) return '/var/lib/dd-transfer';
  const base = process.env['XDG_STATE_HOME'] ?? join(process.env['HOME'] ?? '.', '.local', 'state');
  return join(base, 'dd-transfer');
}

interface OpenedTransfer extends AsyncDisposable {
  readonly transfer: Transfer;
  readonly content: readonly string[];
  readonly isResumed: boolean;
  readonly activity: Activity;
  /** Hands over what has to be closed; disposing does nothing from then on. */
  keep(): AsyncDisposableStack;
}

async function openTransfer(
  options: ReceiveOptions,
  stateDir: string,
  { clock, log, events }: { clock: Clock; log: Log; events: ReceiverEvents },
): Promise<OpenedTransfer> {
  await using stack = new AsyncDisposableStack();
  // A target that is refused leaves nothing behind in the state folder.
  const inspect = async (isResuming: boolean): Promise<TargetInspection> =>
    await inspectTarget(options.target, { isOverwriteAllowed: options.overwriteTarget, isResuming });
  const journalPath = journalPathOf(options, stateDir);
  if (options.discardTransfer) await refuseJournalInUse(journalPath);
  const isKnown = !options.discardTransfer && existsSync(journalPath);
  const inspectedFirst = isKnown ? undefined : await inspect(false);
  const journal = await openJournal(options, journalPath);
  stack.defer(() => journal.close());
  const isResumed = journal.property('claim') !== undefined;
  const inspection = inspectedFirst ?? (await inspect(isResumed));
  const target = await DiskTarget.open(inspection.identity);
  stack.defer(async () => await target.close());
  if (isResumed) refuseOtherTarget(journal, target.identity);
  else if (journal.property('targetIdentity') !== undefined) {
    // Nothing was written yet: whatever stands here now is the target.
    journal.setProperties(recordOf(target.identity, inspection.content));
  }
  const activity = stack.use(new Activity({ log, clock }));
  const transfer = new Transfer({
    target,
    journal,
    content: inspection.content,
    places: await placesOf(target.identity.path),
    memoryBytes: options.memoryBytes,
    connectionsMax: options.maxConnections,
    isReadBack: options.isReadBack,
    clock,
    digests: DIGESTS,
    events: {
      ...transferEvents(target.identity.path, log, (error) => events.onJournalBroken(error)),
      onEpochEnd: (error, lostBlocks) => activity.targetFailed(error, lostBlocks),
    },
  });
  stack.defer(async () => {
    transfer.opened?.durability.close();
    await transfer.adoption?.stop();
    await transfer.opened?.verifier?.stop();
  });
  const owned = stack.move();
  let isKept = false;
  return {
    transfer,
    content: inspection.content,
    isResumed,
    activity,
    keep: () => {
      isKept = true;
      return owned;
    },
    [Symbol.asyncDispose]: async () => {
      if (!isKept) await owned.disposeAsync();
    },
  };
}

/** The journal's folder is named after the target's path, so that the same command finds it again. */
function journalPathOf(options: ReceiveOptions, stateDir: string): string {
  return join(stateDir, hash('sha256', resolve(options.target)).slice(0, 16), 'journal.db');
}

/** What can't be opened for another reason may be discarded. @throws TransferError `journal-in-use`. */
async function refuseJournalInUse(path: string): Promise<void> {
  if (!existsSync(path)) return;
  try {
    (await SqliteJournal.open(path)).close();
  } catch (error) {
    if (error instanceof TransferError && error.code === 'journal-in-use') throw error;
  }
}

async function openJournal(options: ReceiveOptions, path: string): Promise<SqliteJournal> {
  const folder = dirname(path);
  // A journal whose folder is lost with the power is lost with it.
  await makeFolderDurably(folder, 0o700);
  if (!options.discardTransfer) return await SqliteJournal.open(path);
  for (const name of await readdir(folder)) {
    if (name.startsWith('journal.db')) await rm(join(folder, name));
  }
  return await SqliteJournal.open(path);
}

function refuseOtherTarget(journal: SqliteJournal, present: TargetIdentity): void {
  const recorded = journal.property('targetIdentity');
  const difference =
    recorded === undefined ? undefined : sameIdentity(JSON.parse(recorded) as TargetIdentity, present);
  if (difference === undefined) return;
  throw new TransferError(
    'target-refused',
    `${present.path} is not the target that this transfer began with: ${difference}`,
    {
      hint: 'name the right disk, or begin anew on this one with --discard-transfer',
    },
  );
}
