/**
 * Reads a journal of millions of rows many rows at a time: passing a row to JavaScript costs far more than
 * reading it within SQLite.
 */
import { parseAreas } from '../../common/areas.ts';
import { DIGEST_BYTES } from '../../common/digest/digest.ts';
import { BLOCK_COUNT_MAX } from '../../common/geometry.ts';
import type { JournalledBlock } from './journal.ts';

/** Index and digest; in hexadecimal in the page. */
const ROW_BYTES = 4 + DIGEST_BYTES;

/**
 * The next rows from an index on: `rows`, in index order; `last`, the last index; `unreadable`, the areas of
 * blocks that have any, as JSON. NULL past the last row. Malformed rows of a damaged journal are skipped:
 * they would shift the others.
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
  const areas = JSON.parse(typeof unreadable === 'string' ? unreadable : '{}') as Record<string, unknown>;
  for (let at = 0; at < bytes.length; at += ROW_BYTES) {
    const index = bytes.readUInt32BE(at);
    const digest = bytes.subarray(at + 4, at + ROW_BYTES);
    const listed = parseAreas(areas[index] ?? [], Number.MAX_SAFE_INTEGER, Infinity);
    if (listed === undefined) throw new SyntaxError(`the unreadable areas of block ${index} are invalid`);
    yield { index, digest, unreadable: listed };
  }
}
