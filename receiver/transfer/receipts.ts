/** How a receipt gives way to the next one, in the journal. */
import type { SealReceipt } from '../../common/protocol/protocol.ts';
import type { Journal } from '../journal/journal.ts';

/** Property: blocks with their unreadable areas at the seal, while only these may be sent again. */
export const REOPENED = 'reopened';

/** What is kept of the receipt of an earlier generation. */
export interface EarlierReceipt {
  readonly generation: number;
  readonly sealedAt: string;
  readonly root: string;
}

/** The oldest first. */
export function earlierReceiptsIn(journal: Journal): readonly EarlierReceipt[] {
  return JSON.parse(journal.property('earlierReceipts') ?? '[]') as EarlierReceipt[];
}

/**
 * Withdraws the receipt and adds it to the earlier ones. Each step is durable: after a crash between two of
 * them the same call completes it.
 * @param properties set before it is withdrawn. @returns whether there was one.
 * @throws TransferError `no-space`, `journal-error`.
 */
export function withdrawReceipt(journal: Journal, properties: Readonly<Record<string, string>>): boolean {
  const json = journal.property('receipt');
  if (json === undefined) return false;
  const { sealedAt, root, generation = 1 } = JSON.parse(json) as Partial<SealReceipt>;
  const kept = earlierReceiptsIn(journal).filter((each) => each.generation !== generation);
  const all = [...kept, { generation, sealedAt: sealedAt ?? '', root: root ?? '' }];
  journal.setProperties({ earlierReceipts: JSON.stringify(all), ...properties });
  journal.removeProperties(['receipt', 'receiptSignature']);
  return true;
}
