/** `--list`, `--check` and `--forget` of an object store: what is done, and what is shown of it. */
import { systemClock } from '../common/clock.ts';
import { EXIT_STATUS, TransferError, reasonOf } from '../common/errors.ts';
import { blockCountOf } from '../common/geometry.ts';
import { copyName } from '../common/store/choose-copy.ts';
import { ObjectStore } from '../common/store/object-store.ts';
import { S3Error } from '../common/store/s3-answers.ts';
import { printable, shellWord } from '../common/text.ts';
import { formatDuration, formatSize } from '../common/units.ts';
import { confirmLoss } from './confirm-discard.ts';
import { collectionLines, damageLine, storeLines } from './store/store-text.ts';
import { reportNowAndThen, type InspectOutputs } from './inspect.ts';
import type { StoreCommand, StoreCommandOptions } from './store-command-line.ts';
import { checkStore } from './store/check-store.ts';
import { collect } from './store/collect.ts';
import { findToForget, forget, type ToForget } from './store/forget.ts';
import { listStore, type StoreListing } from './store/list-store.ts';

interface Run extends InspectOutputs {
  readonly store: ObjectStore;
  readonly options: StoreCommandOptions;
  readonly signal: AbortSignal;
}

const VERBS = { 'list-store': 'list', 'check-store': 'check', forget: 'forget copies in' } as const;

/**
 * @param signal ends it; a collection then ends properly.
 * @returns the exit status. @throws TransferError.
 */
export async function runStoreCommand(
  { kind, options }: StoreCommand,
  outputs: InspectOutputs,
  signal: AbortSignal,
): Promise<number> {
  const { named, endpoint } = options;
  await using store = await ObjectStore.open(named, { endpoint, environment: process.env });
  const run: Run = { ...outputs, print: (text) => outputs.print(safe(text)), store, options, signal };
  try {
    if (kind === 'list-store') return await showListing(run);
    return kind === 'check-store' ? await showCheck(run) : await showForgetting(run);
  } catch (error) {
    signal.throwIfAborted();
    throw asFailure(`cannot ${VERBS[kind]} ${named.name}`, error);
  }
}

function safe(text: string): string {
  const lines = text.split('\n').map((line) => printable(line));
  return lines.join('\n');
}

/** What the service has said; a bug stays one. */
function asFailure(what: string, error: unknown): unknown {
  const isBug = error instanceof TypeError || error instanceof RangeError || !(error instanceof Error);
  if (error instanceof TransferError || isBug) return error;
  const isRefusal = error instanceof S3Error && !error.isPassing;
  return new TransferError(isRefusal ? 'state-refused' : 'connection-failed', `${what}: ${reasonOf(error)}`, {
    cause: error,
  });
}

async function showListing({ store, options, print }: Run): Promise<number> {
  const { named, isJson } = options;
  const listing = await listStore(store, named);
  if (isJson) for (const entry of entriesOf(named.store, listing)) print(`${JSON.stringify(entry)}\n`);
  else {
    const lines = storeLines(listing);
    print(lines.length === 0 ? `no copies in ${named.store}\n` : `${lines.join('\n')}\n`);
  }
  return EXIT_STATUS.verified;
}

/** One object a line. */
function* entriesOf(store: string, { copies, running }: StoreListing): Iterable<Record<string, unknown>> {
  for (const { name, when, receipt, problem } of copies) {
    const facts = receipt && {
      transferId: receipt.transferId,
      sizeBytes: receipt.size,
      blockSizeBytes: receipt.blockSize,
      source: receipt.source,
      verified: receipt.verified,
      unreadable: receipt.unreadable,
      leftOut: receipt.leftOut,
    };
    yield { kind: 'copy', copy: copyName(store, { name, when }), name, sealedAt: when, ...facts, problem };
  }
  for (const { seenAtMs, startedAtMs, ...facts } of running) {
    const startedAt = startedAtMs === null ? null : new Date(startedAtMs).toISOString();
    yield { kind: 'open', ...facts, startedAt, seenAt: new Date(seenAtMs).toISOString() };
  }
}

async function showCheck({ store, options, print, say, signal }: Run): Promise<number> {
  const { named } = options;
  const report = reportNowAndThen(say);
  const found = await checkStore(store, named, {
    onDamage: (key, state) => {
      const what = state === 'absent' ? 'missing ' : 'damaged ';
      print(`${what} ${named.store}/${key}\n`);
    },
    onUnusable: (copy, { message }) => print(`damaged  ${copyName(named.store, copy)}: ${message}\n`),
    onProgress: (chunks, bytes) => {
      signal.throwIfAborted();
      report(() => `${chunks} chunks, ${formatSize(bytes)}, of ${named.name} compared`);
    },
  });
  for (const { copy, geometry, blocks } of found.damaged) {
    const blockCount = blockCountOf(geometry);
    print(`${damageLine({ name: copyName(named.store, copy), geometry, blocks, blockCount })}\n`);
  }
  const { copies, chunks, bytes, missing, different, unusable, damaged } = found;
  const whole = `${chunks} chunks, ${formatSize(bytes)}`;
  const isFine = missing + different + unusable === 0;
  if (isFine) {
    print(`equal    ${whole}, of ${copies} ${plural(copies)} in ${named.store} are what their names say\n`);
    return EXIT_STATUS.verified;
  }
  print(
    `differs  ${damaged.length + unusable} of ${copies} ${plural(copies)}: ${different} damaged and ` +
      `${missing} missing of ${whole}; ${unusable} ${unusable === 1 ? 'manifest' : 'manifests'} unusable\n`,
  );
  return EXIT_STATUS.device;
}

async function showForgetting({ store, options, print, say, signal }: Run): Promise<number> {
  const { named, isConfirmed } = options;
  if (named.copy !== undefined) {
    const found = await findToForget(store, named);
    const what = lossText(found, named.copy, await store.nowMs());
    if (!isConfirmed) {
      const list = `ddt-receive --list ${shellWord(named.store)}`;
      const hint = `to see what is there: ${list}; to do it without a question, add --yes`;
      await confirmLoss({ what, verb: ['forget', 'forgotten'], refusal: '--forget would lose', hint });
    }
    signal.throwIfAborted();
    await forget(store, named.copy, found, (copy) => print(`forgot   ${copyName(named.store, copy)}\n`));
    if (found.openSeenAtMs !== undefined)
      print(`forgot   the unfinished transfer onto ${named.store}#${named.copy}\n`);
  }
  const report = reportNowAndThen(say);
  const collection = await collect(store, {
    clock: systemClock,
    onProgress: (chunks) => {
      signal.throwIfAborted();
      report(() => `${chunks} chunks looked at`);
    },
  });
  const again = `ddt-receive --forget ${shellWord(named.store)}`;
  print(`${collectionLines(collection, again).join('\n')}\n`);
  return EXIT_STATUS.verified;
}

function lossText({ copies, openSeenAtMs, pending }: ToForget, name: string, nowMs: number): string {
  const [first, last] = [copies[0]?.when ?? '', copies.at(-1)?.when ?? ''];
  const times = copies.length > 2 ? `${first} to ${last}` : copies.map(({ when }) => when).join(', ');
  const seen = openSeenAtMs === undefined ? 0 : Math.max(0, nowMs - openSeenAtMs);
  return [
    ...(copies.length === 0 ? [] : [`${copies.length} ${plural(copies.length)} of ${name} (${times})`]),
    ...(openSeenAtMs === undefined
      ? []
      : [`the unfinished transfer onto ${name} (last at work ${formatDuration(seen)} ago)`]),
    ...(pending.length === 0
      ? []
      : [`${pending.length} ${plural(pending.length)} of ${name} that were not sealed`]),
  ].join(' and ');
}

function plural(copies: number): string {
  return copies === 1 ? 'copy' : 'copies';
}
