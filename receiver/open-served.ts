/** One of the transfers that this process serves: its target and its journal, from the start to the end. */
import { open, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../common/clock.ts';
import { DIGESTS, SHA256 } from '../common/digest/digest.ts';
import type { TransferError } from '../common/errors.ts';
import type { Trouble } from '../common/hooks.ts';
import type { ReceiveOptions } from './cli.ts';
import { confirmDiscard } from './confirm-discard.ts';
import { Activity } from './console/activity.ts';
import type { Log } from './console/log.ts';
import { ReceiptKeeper } from './keep-receipt.ts';
import { pathOf } from './privileges.ts';
import { takeTarget, type LostProgress, type TakenTarget } from './take-target.ts';
import { tendStore } from './tend-store.ts';
import { transferEvents } from './transfer-events.ts';
import { planAdoption, startAdoption } from './transfer/adopt.ts';
import type { SharedMemory } from './transfer/memory-budget.ts';
import { refuseOtherDisk } from './transfer/spot-check.ts';
import { cutTarget, restoreLength } from './transfer/stream-size.ts';
import { Transfer } from './transfer/transfer.ts';
import type { TargetWatch } from './watch/target-watch.ts';
import { nothingToUpdate, openForUpdate } from './transfer/update.ts';

export interface OpenServed {
  readonly taken: TakenTarget;
  readonly transfer: Transfer;
  readonly activity: Activity;
  readonly log: Log;
  /** Of the journal; it is open. */
  readonly folderPath: string;
  readonly folder: FileHandle;
  readonly receipts: ReceiptKeeper;
  /** Its journal can't be written: it refuses everything. */
  readonly failure: TransferError | undefined;
}

export interface ServedContext {
  readonly clock: Clock;
  readonly log: Log;
  readonly stateDir: string;
  /** undefined: there is one transfer only. */
  readonly sharedMemory: SharedMemory | undefined;
  /** Called once. */
  readonly onFailed: (error: TransferError) => void;
  /** undefined: nobody watches. */
  readonly watchOf?: ((target: string) => TargetWatch | undefined) | undefined;
  /** Something that a person should know of. */
  readonly onTrouble: (trouble: Trouble) => void;
}

/**
 * Takes the target. What is recorded of it is changed by the result, when all targets are taken.
 * @param stack closes all of it. @throws TransferError of every kind that a start may be refused with.
 */
export async function takeServed(
  target: string,
  options: ReceiveOptions,
  context: ServedContext,
  stack: AsyncDisposableStack,
): Promise<() => Promise<OpenServed>> {
  const { clock, stateDir, sharedMemory } = context;
  const log = sharedMemory === undefined ? context.log : context.log.of(target);
  const tell = (trouble: Trouble): void => context.onTrouble({ ...trouble, target });
  const activity = stack.use(new Activity({ log, strangersLog: context.log, clock, tell }));
  const confirmLoss = async (lost: LostProgress): Promise<void> =>
    await confirmDiscard(lost, options.isConfirmed);
  const taken = stack.use(await takeTarget({ ...options, target, confirmDiscard: confirmLoss }, stateDir));
  taken.target.reportOutages?.((sentence, isGone) => (isGone ? log.warning(sentence) : log.info(sentence)));
  if (options.isUpdate && !taken.isResumed) throw nothingToUpdate(taken.target.identity.path);
  const watch = context.watchOf?.(target);
  return async () =>
    await openServed({ taken, log, activity, watch }, options, { ...context, onTrouble: tell }, stack);
}

interface OpeningParts extends Pick<OpenServed, 'taken' | 'log' | 'activity'> {
  readonly watch: TargetWatch | undefined;
}

async function openServed(
  { taken, log, activity, watch }: OpeningParts,
  options: ReceiveOptions,
  context: ServedContext,
  stack: AsyncDisposableStack,
): Promise<OpenServed> {
  if (options.isUpdate && openForUpdate(taken.journal))
    log.audit('opened the sealed copy again, to bring it up to date', { action: 'update' });
  const failing: { error?: TransferError } = {};
  const onJournalBroken = (error: TransferError): void => {
    // What fails after it has the same cause.
    if (failing.error !== undefined) return;
    failing.error = error;
    context.onFailed(error);
    log.warning('its journal has failed, so it refuses everything: start ddt-receive again to resume');
    void stopWork(transfer);
  };
  const transfer = makeTransfer(taken, options, { ...context, log, activity, watch, onJournalBroken });
  watch?.opened({ transfer, activity, failure: () => failing.error });
  stack.defer(async () => await stopWork(transfer));
  stack.use(await tendStore(transfer, { clock: context.clock, log }));
  await resume(transfer, options);
  const folderPath = dirname(transfer.journal.path);
  const folder = stack.use(await open(folderPath, 'r'));
  const receipts = new ReceiptKeeper(pathOf(folder), log);
  return {
    taken,
    transfer,
    activity,
    log,
    folderPath,
    folder,
    receipts,
    get failure() {
      return failing.error;
    },
  };
}

interface TransferContext extends ServedContext {
  readonly activity: Activity;
  readonly watch: TargetWatch | undefined;
  readonly onJournalBroken: (error: TransferError) => void;
}

function makeTransfer(
  { target, places, journal, content }: TakenTarget,
  options: ReceiveOptions,
  { clock, log, activity, watch, sharedMemory, onJournalBroken, onTrouble: tell }: TransferContext,
): Transfer {
  const { path } = target.identity;
  return new Transfer({
    target,
    journal,
    content,
    places,
    memoryBytes: options.memoryBytes,
    sharedMemory,
    connectionsMax: options.maxConnections,
    isReadBack: options.isReadBack,
    clock,
    // Those are the names of its blocks.
    digests: target.store === undefined ? DIGESTS : [SHA256],
    events: {
      ...transferEvents(path, {
        log,
        tell,
        onJournalBroken,
        onBad: (index, reason) => watch?.bad(index, reason),
      }),
      onEpochEnd: (error, lostBlocks) => activity.targetFailed(error, lostBlocks),
    },
  });
}

/** What an earlier process has left is compared and put right; what is to be read is being read then. */
async function resume(transfer: Transfer, { isAdoption }: ReceiveOptions): Promise<void> {
  if (transfer.opened !== undefined) {
    await refuseOtherDisk(transfer.target, transfer.opened);
    await cutTarget(transfer, transfer.opened);
    await restoreLength(transfer);
  } else if (isAdoption) planAdoption(transfer);
  await startAdoption(transfer);
  transfer.startVerifying();
}

async function stopWork({ opened, adoption, target }: Transfer): Promise<void> {
  target.stopWaiting?.();
  opened?.durability.close();
  await adoption?.stop();
  await opened?.verifier?.stop();
}
