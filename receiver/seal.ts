/** The end of a transfer: everything durable, the roots equal, a signed receipt, and then no more writing. */
import { digestNow } from '../common/digest.ts';
import { TransferError } from '../common/errors.ts';
import type { Clock } from '../common/clock.ts';
import { RECEIPT_NAMESPACE, type SealReceipt } from '../common/protocol.ts';
import { formatRanges } from '../common/ranges.ts';
import { armorSshsig, publicKeyLine, signSsh, type SigningKey } from '../common/ssh-signature.ts';
import type { SealedReceipt, Transfer } from './transfer.ts';

/** Ranges that one 409 lists; the sender comes again for the rest. */
const MISSING_RANGES_MAX = 4096;

/**
 * Flushes, compares and seals. Once sealed, the same request gets the same receipt.
 * @param request.root 32 bytes: SHA-256 over the sender's raw block digests in index order.
 * @throws TransferError `incomplete` (details.missing: ranges), `root-mismatch`, `bad-request`, `io-error`.
 */
export async function sealTransfer(
  transfer: Transfer,
  request: { blockCount: number; root: Buffer },
  options: { key: SigningKey; clock: Clock },
): Promise<SealedReceipt> {
  const open = transfer.claimed();
  if (request.blockCount !== open.blockCount) {
    throw new TransferError(
      'bad-request',
      `the transfer has ${open.blockCount} blocks, not ${request.blockCount}`,
    );
  }
  // Nothing is written while this is decided.
  using _lock = await open.locks.lock(0, Math.max(1, open.blockCount));
  if (transfer.sealed === undefined) await open.durability.flush();
  const missing = open.table.missing(MISSING_RANGES_MAX);
  if (missing.length > 0) {
    throw new TransferError('incomplete', `blocks ${formatRanges(missing)} are not on the target`, {
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
  if (transfer.sealed !== undefined) return transfer.sealed;
  const receipt: SealReceipt = {
    v: 1,
    transferId: transfer.id,
    size: open.geometry.sizeBytes,
    blockSize: open.geometry.blockSizeBytes,
    blockCount: open.blockCount,
    root: `sha256:${request.root.toString('hex')}`,
    verified: 'none',
    sealedAt: new Date(options.clock.wallMs()).toISOString(),
    target: transfer.status().target,
    source: open.claim.source,
    receiverKey: publicKeyLine(options.key.publicKey, 'ddt-receive'),
  };
  const json = `${JSON.stringify(receipt, null, 2)}\n`;
  const sealed = { json, signature: armorSshsig(signSsh(options.key, RECEIPT_NAMESPACE, Buffer.from(json))) };
  transfer.seal(sealed);
  return sealed;
}
