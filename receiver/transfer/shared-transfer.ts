/** A transfer that several receivers may serve, one after the other: what each of them has to know of it. */
import type { OpenRecord } from '../../common/store/collecting.ts';
import { recordedClaim } from './journal-objects.ts';
import { LEFT_OUT, type Transfer } from './transfer.ts';

/** Properties for the journal. */
export function propertiesOf(record: OpenRecord): Record<string, string> {
  const { transferId, claim, sizeMax, hasLeftOut, ticketIssuedAt } = record;
  return {
    transferId,
    ticketIssuedAt: String(ticketIssuedAt),
    ...(claim === null ? {} : { claim: JSON.stringify(claim) }),
    ...(sizeMax === null ? {} : { sizeMax: String(sizeMax) }),
    ...(hasLeftOut ? { [LEFT_OUT]: 'yes' } : {}),
  };
}

/**
 * Takes over the claim that another receiver has recorded meanwhile. For any other target it does nothing.
 * @throws TransferError `transfer-mismatch`, `io-error`.
 */
export async function followOthers(transfer: Transfer): Promise<void> {
  if (!isShared(transfer)) return;
  const record = await transfer.target.store?.current();
  if (transfer.opened !== undefined || record === undefined || record.claim === null) return;
  transfer.journal.setProperties(propertiesOf(record));
  const claim = recordedClaim(transfer.journal);
  if (claim !== undefined) transfer.begin(claim, record.sizeMax ?? undefined);
}

/**
 * Tells other receivers what they have to know, before a sender is answered. For any other target it does
 * nothing. @throws TransferError `transfer-mismatch`, `io-error`, `no-space`.
 */
export async function keepForOthers(transfer: Transfer): Promise<void> {
  const { target, journal, id: transferId, hasLeftOut } = transfer;
  if (!isShared(transfer)) return;
  const sizeMax = journal.property('sizeMax');
  await target.store?.keep({
    transferId,
    claim: recordedClaim(journal) ?? null,
    sizeMax: sizeMax === undefined ? null : Number(sizeMax),
    hasLeftOut,
    ticketIssuedAt: Number(journal.property('ticketIssuedAt') ?? 0),
  });
}

/** What was sealed has its manifest, and is not continued elsewhere. */
function isShared({ sealed, reopened }: Transfer): boolean {
  return sealed === undefined && reopened === undefined;
}
