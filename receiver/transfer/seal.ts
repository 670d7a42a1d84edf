/** Seals a transfer: every block durable and verified, the roots equal, a signed receipt, no more writes. */
import { TransferError } from '../../common/errors.ts';
import type { Clock } from '../../common/clock.ts';
import { MISSING_RANGES_MAX, type LeftOut, type SealReceipt } from '../../common/protocol/protocol.ts';
import { formatBlocks, type Range } from '../../common/ranges.ts';
import { RECEIPT_NAMESPACE, RECEIVER_KEY_COMMENT } from '../../common/trust/receipt-signer.ts';
import { armorSshsig, publicKeyLine, signSsh, type SigningKey } from '../../common/trust/ssh-signature.ts';
import type { OpenTransfer, SealedReceipt, Transfer } from './transfer.ts';
import { cutTarget } from './stream-size.ts';
import { targetDiffers } from './refusals.ts';
import { listUnreadable } from './reopen.ts';
import { refuseStale } from './write-block.ts';
import { MISMATCHES_MAX, type Verifier } from '../durability/verify-blocks.ts';

/** A sender asks again after this while blocks are still being read back. */
export const VERIFYING_RETRY_SECONDS = 1;

export type SealOutcome =
  | { readonly outcome: 'sealed'; readonly receipt: SealedReceipt }
  | { readonly outcome: 'verifying'; readonly verified: number };

export interface SealClaim {
  readonly blockCount: number;
  /** 32 bytes: SHA-256 over the sender's raw block digests in index order. */
  readonly root: Buffer;
  /** What these blocks leave out of the source; null or missing: nothing. */
  readonly leftOut?: LeftOut | null;
}

export interface SealOptions {
  readonly key: SigningKey;
  readonly clock: Clock;
  /** Simulations leave the signature out: it takes longer than all the rest. */
  readonly sign?: typeof signSsh;
}

/**
 * Flushes, waits up to a second for blocks that are still being read back, compares and seals. Once sealed,
 * the same request gets the same receipt.
 * @throws TransferError `incomplete` (details.missing: ranges), `verify-failed`, `target-differs`,
 * `root-mismatch`, `bad-request`, `io-error`.
 */
export async function sealTransfer(
  transfer: Transfer,
  request: SealClaim,
  options: SealOptions,
): Promise<SealOutcome> {
  const open = transfer.adopted();
  if (open.claim.size === null) {
    throw new TransferError(
      'size-unknown',
      'the size of the source is not known yet: its pipe has not ended',
      {
        hint: 'PUT /transfer with {"size":<bytes>,"stream":true,…} when it has, as ddt-send does',
      },
    );
  }
  if (open.isCutPending) await cutTarget(transfer, open);
  if (request.blockCount !== open.blockCount) {
    throw new TransferError(
      'bad-request',
      `the transfer has ${open.blockCount} blocks, not ${request.blockCount}`,
    );
  }
  if (transfer.sealed !== undefined) return await confirmSealed(transfer, open, request.root, options);
  if (open.verifier !== undefined) await readBack(open, open.verifier, options.clock);
  // Writes in progress are waited for, and nothing is written while this is decided.
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  // Another request may have sealed it meanwhile.
  if (isSealed(transfer)) return { outcome: 'verifying', verified: open.table.countOf('verified') };
  refuseStale(transfer, open);
  await open.durability.flushEverything();
  refuseBroken(transfer, open);
  // What was sealed cannot be sent again, except unreadable areas.
  if (transfer.reopened !== undefined && open.table.differentCount > 0) throw targetDiffers(transfer, open);
  const missing = open.table.missing(MISSING_RANGES_MAX);
  if (missing.length > 0) throw incomplete(missing);
  if (!(await open.root.get()).equals(request.root)) throw rootMismatch();
  const verified = open.table.countOf('verified');
  if (open.verifier !== undefined && verified < open.blockCount) return { outcome: 'verifying', verified };
  if (open.verifier !== undefined && !(await open.verifier.confirm()))
    return { outcome: 'verifying', verified: 0 };
  const { receipt, sealed } = makeReceipt(transfer, open, request, options);
  await sealInStore(transfer, open, { sealedAt: receipt.sealedAt, ...sealed });
  transfer.seal(sealed);
  return { outcome: 'sealed', receipt: sealed };
}

/**
 * For other receivers, if the target has any.
 * @throws TransferError `incomplete`, `in-use`, `io-error`, `no-space`.
 */
async function sealInStore(
  { id: transferId, target: { store } }: Transfer,
  { table, durability }: OpenTransfer,
  { sealedAt, json: receipt, signature }: SealedReceipt & Pick<SealReceipt, 'sealedAt'>,
): Promise<void> {
  if (store === undefined) return;
  const copy = { transferId, sealedAt, receipt, signature, digests: table.allDigests() };
  const missing = await store.seal(copy);
  if (missing.length === 0) return;
  // They are absent from here on, as before a write.
  durability.announce(missing);
  throw incomplete(table.missing(MISSING_RANGES_MAX));
}

function incomplete(missing: Range[]): TransferError {
  const message = `not on the target: ${formatBlocks(missing)}`;
  return new TransferError('incomplete', message, { details: { missing } });
}

/** A function, because an earlier request may have changed it while this one waited. */
function isSealed({ sealed }: Transfer): boolean {
  return sealed !== undefined;
}

/**
 * Compares a sealed transfer once more: its receipt gets a new date when all of the target has been read
 * since the claim of this run. Without a new reading it returns the present receipt.
 */
async function confirmSealed(
  transfer: Transfer,
  open: OpenTransfer,
  root: Buffer,
  options: SealOptions,
): Promise<SealOutcome> {
  const receipt = receiptOf(transfer);
  if (receipt.root !== `sha256:${root.toString('hex')}`) throw rootMismatch();
  const { sealed, isReadAgain } = transfer;
  if (sealed === undefined) throw rootMismatch();
  if (open.verifier === undefined || !isReadAgain) return { outcome: 'sealed', receipt: sealed };
  await readBack(open, open.verifier, options.clock);
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  await open.durability.flushEverything();
  const { table } = open;
  const [verified, different] = [table.countOf('verified'), table.differentCount];
  if (verified + different < open.blockCount) return { outcome: 'verifying', verified };
  if (!(await open.verifier.confirm())) return { outcome: 'verifying', verified: 0 };
  // Nothing is awaited from here on: what another request has opened again is not sealed over.
  if (transfer.sealed !== sealed || transfer.opened !== open) return { outcome: 'verifying', verified };
  if (different > 0) throw targetDiffers(transfer, open);
  const renewed = signReceipt(
    // The key may be a new one since.
    {
      ...receipt,
      verifiedAt: isoNow(options),
      readBack: open.verifier.method,
      receiverKey: keyLine(options),
    },
    options,
  );
  transfer.seal(renewed);
  return { outcome: 'sealed', receipt: renewed };
}

function receiptOf({ sealed }: Transfer): SealReceipt {
  return JSON.parse(sealed?.json ?? '{}') as SealReceipt;
}

function rootMismatch(): TransferError {
  return new TransferError(
    'root-mismatch',
    'the digests of the blocks on the target are not those of the source',
    { hint: 'run ddt-send again: it compares every block and sends those that differ' },
  );
}

/** Flushes, and waits up to a second for the blocks that are still to be read back. */
async function readBack(open: OpenTransfer, verifier: Verifier, clock: Clock): Promise<void> {
  await open.durability.flushEverything();
  await findForeignWrites(open, verifier);
  await Promise.race([verifier.settle(), clock.sleep(VERIFYING_RETRY_SECONDS * 1000)]);
}

/** Saves a second reading if others have written already; the proof is the comparison after the reading. */
async function findForeignWrites(open: OpenTransfer, verifier: Verifier): Promise<void> {
  if (await verifier.look()) return;
  // Our own writes change the mark too: it is taken while there are none.
  using _quiet = await open.locks.lock(0, Math.max(1, open.blockCount));
  await open.durability.flushEverything();
  await verifier.confirm();
}

function refuseBroken(transfer: Transfer, { verifier, geometry }: OpenTransfer): void {
  const broken = verifier?.broken ?? [];
  if (broken.length === 0) return;
  const offsets = broken.map(([first, count]) => [
    first * geometry.blockSizeBytes,
    count * geometry.blockSizeBytes,
  ]);
  throw new TransferError(
    'verify-failed',
    `cannot verify ${formatBlocks(broken)} of ${transfer.target.identity.path}: ` +
      `written ${MISMATCHES_MAX} times and read back wrong each time: ` +
      'the disk, its cable or its controller is broken, or another program keeps writing to it',
    {
      details: { blocks: broken, areas: offsets },
      hint: 'see what writes to it (fuser -v); otherwise replace it and start over with --discard-transfer',
    },
  );
}

function makeReceipt(
  transfer: Transfer,
  open: OpenTransfer,
  { root, leftOut = null }: SealClaim,
  options: SealOptions,
): { receipt: SealReceipt; sealed: SealedReceipt } {
  const now = isoNow(options);
  const previous = transfer.earlierReceipts.at(-1) ?? null;
  const receipt: SealReceipt = {
    v: 1,
    transferId: transfer.id,
    size: open.geometry.sizeBytes,
    blockSize: open.geometry.blockSizeBytes,
    blockCount: open.blockCount,
    digest: open.digest.algorithm,
    root: `sha256:${root.toString('hex')}`,
    verified: open.verifier === undefined ? 'none' : 'read-back',
    readBack: open.verifier?.method ?? null,
    unreadable: listUnreadable(open.table).unreadable,
    leftOut,
    sealedAt: now,
    verifiedAt: now,
    generation: transfer.generation,
    previous,
    target: transfer.status().target,
    source: open.claim.source,
    receiverKey: keyLine(options),
  };
  return { receipt, sealed: signReceipt(receipt, options) };
}

function keyLine({ key }: SealOptions): string {
  return publicKeyLine(key.publicKey, RECEIVER_KEY_COMMENT);
}

function isoNow({ clock }: SealOptions): string {
  return new Date(clock.wallMs()).toISOString();
}

function signReceipt(receipt: SealReceipt, options: SealOptions): SealedReceipt {
  // An area a line; no text within the JSON has a line end of its own.
  const areas = /\[\n\s+(\d+),\n\s+(\d+)\n\s+\]/g;
  const json = `${JSON.stringify(receipt, null, 2).replaceAll(areas, '[$1, $2]')}\n`;
  const sign = options.sign ?? signSsh;
  return { json, signature: armorSshsig(sign(options.key, RECEIPT_NAMESPACE, Buffer.from(json))) };
}
