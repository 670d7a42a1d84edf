/** A block as the body of a PUT, plain or encoded, and the headers that say which. */
import { formatAreas } from '../../common/areas.ts';
import { digestField } from '../../common/digest/digest-names.ts';
import { HEADER_SOURCE_ERRORS } from '../../common/protocol/protocol.ts';
import type { OutgoingBlock } from './receiver-port.ts';

/** The digest is always the plain block's; its field says so where the body is another (PROTOCOL.md). */
export function putRequestOf(block: OutgoingBlock): { headers: Record<string, string>; body: Buffer } {
  const { bytes, digest, algorithm, unreadable, encoded } = block;
  const body = encoded ?? bytes;
  const field = digestField(algorithm, digest);
  const headers = {
    'content-type': 'application/octet-stream',
    'content-length': String(body.length),
    ...(encoded === undefined
      ? { 'content-digest': field }
      : { 'content-encoding': 'zstd', 'unencoded-digest': field }),
    ...(unreadable.length === 0 ? {} : { [HEADER_SOURCE_ERRORS]: formatAreas(unreadable) }),
  };
  return { headers, body };
}
