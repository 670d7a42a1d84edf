/** The end of a transfer: everything durable, the roots equal, a signed receipt, and then no more writing. */
import { digestNow } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import type { Clock } from '../../common/clock.ts';
import { MISSING_RANGES_MAX, RECEIPT_NAMESPACE, type SealReceipt } from '../../common/protocol/protocol.ts';
import { formatBlocks } from '../../common/ranges.ts';
import { armorSshsig, publicKeyLine, signSsh, type SigningKey } from '../../common/trust/ssh-signature.ts';
import type { OpenTransfer, SealedReceipt, Transfer } from './transfer.ts';
import { cutTarget } from './stream-size.ts';
import { listUnreadable } from './reopen.ts';
import { MISMATCHES_MAX, type Verifier } from '../durability/verify-blocks.ts';

/** Seconds after which a sender asks again while blocks are still being read back. */
export const VERIFYING_RETRY_SECONDS = 1;

export type SealOutcome =
  | { readonly outcome: 'sealed'; readonly receipt: SealedReceipt }
  | { readonly outcome: 'verifying'; readonly verified: number };

export interface SealOptions {
  readonly key: SigningKey;
  readonly clock: Clock;
  /** A simulation leaves out the signature, which takes longer than all the rest. */
  readonly sign?: typeof signSsh;
}

/**
 * Flushes, waits a moment for what is still being read back, compares and seals. Once sealed, the same
 * request gets the same receipt.
 * @param request.root 32 bytes: SHA-256 over the sender's raw block digests in index order.
 * @throws TransferError `incomplete` (details.missing: ranges), `verify-failed`, `root-mismatch`,
 * `bad-request`, `io-error`.
 */
export async function sealTransfer(
  transfer: Transfer,
  request: { blockCount: number; root: Buffer },
  options: SealOptions,
): Promise<SealOutcome> {
  const open = transfer.claimed();
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
  if (transfer.sealed === undefined && open.verifier !== undefined) {
    await open.durability.flushEverything();
    await findForeignWrites(open, open.verifier);
    await Promise.race([open.verifier.settle(), options.clock.sleep(VERIFYING_RETRY_SECONDS * 1000)]);
  }
  // Writes in progress are waited for, and nothing is written while this is decided.
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  if (transfer.sealed === undefined) await open.durability.flushEverything();
  refuseBroken(transfer, open);
  const missing = open.table.missing(MISSING_RANGES_MAX);
  if (missing.length > 0) {
    throw new TransferError('incomplete', `not on the target: ${formatBlocks(missing)}`, {
      details: { missing },
    });
  }
  if (!digestNow(open.table.allDigests()).equals(request.root)) {
    throw new TransferError(
      'root-mismatch',
      'the digests of the blocks on the target are not those of the source',
      {
        hint: 'run ddt-send again: it compares every block and sends those that differ',
      },
    );
  }
  if (transfer.sealed !== undefined) return { outcome: 'sealed', receipt: transfer.sealed };
  const verified = open.table.countOf('verified');
  if (open.verifier !== undefined && verified < open.blockCount) return { outcome: 'verifying', verified };
  if (open.verifier !== undefined && !(await open.verifier.confirm()))
    return { outcome: 'verifying', verified: 0 };
  const sealed = makeReceipt(transfer, open, request.root, options);
  transfer.seal(sealed);
  return { outcome: 'sealed', receipt: sealed };
}

/** Before the reading, so that it need not be done twice; what counts is the look after it. */
async function findForeignWrites(open: OpenTransfer, verifier: Verifier): Promise<void> {
  if (await verifier.look()) return;
  // Our own writes change the mark, too: it is taken when there are none.
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
      hint: 'see whether a program writes to it (fuser -v); otherwise replace it and start over with --discard-transfer',
    },
  );
}

function makeReceipt(
  transfer: Transfer,
  open: OpenTransfer,
  root: Buffer,
  options: SealOptions,
): SealedReceipt {
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
    sealedAt: new Date(options.clock.wallMs()).toISOString(),
    target: transfer.status().target,
    source: open.claim.source,
    receiverKey: publicKeyLine(options.key.publicKey, 'ddt-receive'),
  };
  // An area a line; no text within the JSON has a line end of its own.
  const areas = /\[\n\s+(\d+),\n\s+(\d+)\n\s+\]/g;
  const json = `${JSON.stringify(receipt, null, 2).replaceAll(areas, '[$1, $2]')}\n`;
  const sign = options.sign ?? signSsh;
  return { json, signature: armorSshsig(sign(options.key, RECEIPT_NAMESPACE, Buffer.from(json))) };
}
