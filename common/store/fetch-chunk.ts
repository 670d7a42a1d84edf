/** How a chunk is read: whole or in part, with its length compared. */
import { S3Error } from './s3-answers.ts';
import { UnreadableObject, type S3Client } from './s3-client.ts';

/** What is there in the place of a chunk. */
export type ChunkState = 'equal' | 'absent' | 'different';

/** What is read of a chunk; all of it where only its length is given. */
export interface ChunkPart {
  readonly lengthBytes: number;
  readonly offset?: number;
  readonly chunkBytes?: number;
}

/** Receives what is read, from the beginning with each attempt. */
export interface TakeChunk {
  readonly begin?: () => void;
  readonly take: (part: Buffer, at: number) => void;
}

/** A part that begins after the end. */
const RANGE_NOT_SATISFIABLE = 416;

/**
 * @returns `equal` where it is there and has its length; its bytes are not compared. `different` also where
 * the service cannot read it.
 * @throws S3Error, Error.
 */
export async function fetchChunk(
  client: S3Client,
  key: string,
  { lengthBytes, offset = 0, chunkBytes = lengthBytes }: ChunkPart,
  { begin, take }: TakeChunk,
  signal?: AbortSignal,
): Promise<ChunkState> {
  let at = 0;
  let isSized = false;
  const isPart = lengthBytes < chunkBytes;
  const range = { range: `bytes=${offset}-${offset + lengthBytes - 1}` };
  try {
    const { status, headers } = await client.fetch(
      { method: 'GET', key, signal, ...(isPart ? { headers: range } : {}) },
      {
        begin: (length) => {
          at = 0;
          isSized = length === lengthBytes;
          begin?.();
        },
        take: (part) => {
          if (at + part.length <= lengthBytes) take(part, at);
          at += part.length;
        },
      },
    );
    if (status === 404) return 'absent';
    const isOfWhole = !isPart || headers['content-range']?.endsWith(`/${chunkBytes}`) === true;
    return isSized && isOfWhole && at === lengthBytes ? 'equal' : 'different';
  } catch (error) {
    if (error instanceof S3Error && error.status === RANGE_NOT_SATISFIABLE) return 'different';
    // A disk of the service has lost its bytes.
    if (error instanceof UnreadableObject) return 'different';
    throw error;
  }
}
