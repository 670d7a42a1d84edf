/** The supply for a source, and the errors of a pipe that does not end where it should. */
import { SlabPool } from '../../common/io/buffers.ts';
import type { Clock } from '../../common/clock.ts';
import type { BlockDigest } from '../../common/digest/digest.ts';
import { TransferError } from '../../common/errors.ts';
import { blockCountOf, type Geometry } from '../../common/geometry.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import { formatSize } from '../../common/units.ts';
import type { BlockSupply } from './block-supply.ts';
import { DiskSupply } from './disk-supply.ts';
import { BlockReader } from './read-block.ts';
import type { Source } from './source.ts';
import { StreamSupply } from './stream-supply.ts';
import type { Stream } from './stream.ts';

/** One block is read while another waits to become durable. */
const STREAM_SLABS_MIN = 2;

export interface SupplyOptions {
  /** Of the claimed transfer. */
  readonly status: TransferStatus;
  readonly geometry: Geometry;
  readonly digest: BlockDigest;
  readonly clock: Clock;
  /** As in {@link StreamSupplyOptions}; only called with a size that fits the claim. */
  readonly onEnd: (sizeBytes: number, signal: AbortSignal) => Promise<void>;
}

export function makeSupply(
  request: { source: Source | Stream; connections: number; memoryBytes: number },
  options: SupplyOptions,
): BlockSupply {
  const { source, connections, memoryBytes } = request;
  const { geometry, digest, status } = options;
  const slabSizeBytes = geometry.blockSizeBytes;
  const affordable = Math.floor(memoryBytes / slabSizeBytes);
  if (source.canReread) {
    // One block for each lane, or fewer if memory is short.
    const slabCount = Math.max(1, Math.min(connections, affordable));
    return new DiskSupply({
      reader: new BlockReader(source, geometry, digest),
      slabs: new SlabPool({ slabSizeBytes, slabCount }),
      blockCount: blockCountOf(geometry),
      blockSizeBytes: geometry.blockSizeBytes,
    });
  }
  return new StreamSupply({
    stream: source,
    geometry,
    slabs: new SlabPool({ slabSizeBytes, slabCount: Math.max(STREAM_SLABS_MIN, affordable) }),
    digest,
    clock: options.clock,
    onEnd: async (sizeBytes, signal) => {
      if (status.size !== null && sizeBytes < status.size) throw tooShort(source, sizeBytes, status.size);
      await options.onEnd(sizeBytes, signal);
    },
    tooLong: () => tooLong(source, status, geometry.sizeBytes),
  });
}

/**
 * Waits for the first byte.
 * @throws TransferError `source-refused` if there is none, unless the size is given as 0.
 */
export async function refuseEmpty(stream: Stream, signal: AbortSignal): Promise<void> {
  if (stream.sizeBytes === 0 || !(await stream.isAtEnd(signal))) return;
  throw new TransferError(
    'source-refused',
    `${stream.description.path} is empty: the command before the pipe has failed, or wrote nothing`,
  );
}

function tooShort({ description, sizeBytes }: Stream, got: number, expected: number): TransferError {
  const ended = `${description.path} ended after ${got} bytes (${formatSize(got)})`;
  if (sizeBytes !== null) {
    return new TransferError(
      'source-size',
      `${ended}, before the ${expected} of --source-size: the command before the pipe has failed`,
      { hint: 'run the same pipe again to resume; if that size is wrong, with the right --source-size' },
    );
  }
  return new TransferError(
    'transfer-mismatch',
    `${ended}, but the source of this transfer has ${expected} bytes (${formatSize(expected)})`,
    {
      hint:
        'run the pipe that this transfer was started with; ' +
        'if its size was given wrong, run this one with the right --source-size',
    },
  );
}

function tooLong({ description, sizeBytes }: Stream, { size }: TransferStatus, most: number): TransferError {
  const bytes = `${most} bytes (${formatSize(most)})`;
  if (sizeBytes !== null) {
    return new TransferError(
      'source-size',
      `${description.path} continues after the ${bytes} of --source-size`,
      { hint: 'run the same pipe again with the right --source-size to resume' },
    );
  }
  if (size === null) {
    return new TransferError(
      'target-too-small',
      `the target is too small: it can take ${bytes}, and ${description.path} continues after them`,
    );
  }
  return new TransferError(
    'transfer-mismatch',
    `${description.path} continues after the ${bytes} that the source of this transfer has`,
    {
      hint:
        'run the pipe that this transfer was started with; ' +
        'if its size was given wrong, run this one with the right --source-size',
    },
  );
}
