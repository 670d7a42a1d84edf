/** A block as the body of a PUT, plain or encoded, and the headers that say which. */
import { formatAreas } from '../common/areas.ts';
import { HEADER_SOURCE_ERRORS } from '../common/protocol.ts';
import type { OutgoingBlock } from './receiver-port.ts';

/** The digest is always the plain block's; its field says so where the body is another (PROTOCOL.md). */
export function putRequestOf(block: OutgoingBlock): { headers: Record<string, string>; body: Buffer } {
  const { bytes, digest, unreadable, encoded } = block;
  const body = encoded ?? bytes;
  const digestField = `sha-256=:${digest.toString('base64')}:`;
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(body.length),
    ...(encoded === undefined
      ? { 'content-digest': digestField }
      : { 'content-encoding': 'zstd', 'unencoded-digest': digestField }),
    ...(unreadable.length === 0 ? {} : { [HEADER_SOURCE_ERRORS]: formatAreas(unreadable) }),
  };
  return { headers, body };
}
