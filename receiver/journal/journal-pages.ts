/**
 * How a journal of millions of rows is read: many rows as one, because a row costs far more on its way to
 * JavaScript than within SQLite.
 */
import type { Area } from '../../common/areas.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { BLOCK_COUNT_MAX } from '../../common/geometry.ts';
import type { JournalledBlock } from './journal.ts';

/** In hexadecimal: index, digest. */
const ROW_BYTES = 4 + DIGEST_BYTES;

/**
 * Of the next rows from an index on: `rows`, in index order; `last`, the last index; `unreadable`, JSON, the
 * areas of the blocks that have any. NULL where there are no more. What a damaged journal has in place of a
 * row must not shift the others.
 */
export const PAGE = `
  SELECT
    group_concat(printf('%08x', block_index) || hex(digest), '' ORDER BY block_index) AS rows,
    max(block_index) AS last,
    json_group_object(block_index, json(unreadable)) FILTER (WHERE unreadable IS NOT NULL) AS unreadable
  FROM (
    SELECT * FROM block
    WHERE block_index >= ? AND block_index < ${BLOCK_COUNT_MAX}
      AND typeof(digest) = 'blob' AND length(digest) = ${DIGEST_BYTES}
    ORDER BY block_index LIMIT 1024
  )
`;

/** @param rows, unreadable of one page. @throws SyntaxError. */
export function* blocksOf(rows: string, unreadable: unknown): Iterable<JournalledBlock> {
  const bytes = Buffer.from(rows, 'hex');
  const areas = JSON.parse(typeof unreadable === 'string' ? unreadable : '{}') as Record<string, Area[]>;
  for (let at = 0; at < bytes.length; at += ROW_BYTES) {
    const index = bytes.readUInt32BE(at);
    const digest = bytes.subarray(at + 4, at + ROW_BYTES);
    yield { index, digest, unreadable: areas[index] ?? [] };
  }
}
