/** Names, limits and shapes of the wire protocol, version 1. PROTOCOL.md describes them. */
import type { Area } from '../areas.ts';
import { DIGEST_BYTES, type DigestAlgorithm } from '../digest/digest.ts';
import type { DiskMarks } from '../disk/disk-places.ts';
import type { Range } from '../ranges.ts';
import type { ReadBackMethod } from './read-back.ts';

export const PROTOCOL_VERSION = 1;

/** Random, one for each run of a sender: who holds the lease. */
export const HEADER_SENDER = 'ddt-sender';
export const HEADER_EPOCH = 'ddt-epoch';
export const HEADER_DURABLE_GENERATION = 'ddt-durable-generation';
/** Blocks read back and equal so far. */
export const HEADER_VERIFIED_COUNT = 'ddt-verified-count';
export const HEADER_GENERATION = 'ddt-generation';
export const HEADER_BLOCK_STATE = 'ddt-block-state';
/** Of a block: the areas that could not be read at the source, and are zeros in it. */
export const HEADER_SOURCE_ERRORS = 'ddt-source-errors';

export const TYPE_DIGESTS = 'application/vnd.ddt.digests';
export const TYPE_PROBLEM = 'application/problem+json';
/** Prefix of problem types (RFC 9457 section 3.1.1); a name, not an address. */
export const PROBLEM_TYPE_PREFIX = 'urn:dd-transfer:problem:';

/** Blocks in one page of `GET /blocks`: 2 MiB of digests, one round trip for 256 GiB at 4 MiB a block. */
export const LISTING_COUNT_MAX = 65_536;
/** Blocks in one `POST /zero`: the accounts of a block cost a hundred bytes until it is flushed. */
export const ZERO_BLOCKS_MAX = 65_536;
/** Ranges in one `POST /zero`; also bounds its body. */
export const ZERO_RANGES_MAX = 4096;
/** Missing ranges that one `incomplete` names; the sender asks again for the rest. */
export const MISSING_RANGES_MAX = 4096;
/** Areas in one `POST /prove`. */
export const PROVE_AREAS_MAX = 64;
/** Of one area in `POST /prove`: 64 of them are read in a moment, also from a disk that turns. */
export const PROVE_AREA_BYTES_MAX = 64 * 1024;
/** Areas to prove begin at multiples of this, as direct I/O needs it. */
export const PROVE_ALIGNMENT_BYTES = 4096;
/** Body of one `POST /probe`: a block of the size that most copies have. */
export const PROBE_BYTES_MAX = 4 * 1024 * 1024;
/** JSON bodies that a client sends: 4096 ranges of two 11-digit numbers fit. */
export const JSON_BODY_BYTES_MAX = 256 * 1024;
/**
 * Unreadable areas in `GET /transfer` and in the receipt; of more, the nearest are joined. 120 KB, which both
 * sides and a person can take.
 */
export const UNREADABLE_AREAS_MAX = 4096;
/** Random bytes grow by about 100 bytes in a zstd frame; a body that grew by more was not worth encoding. */
export const ENCODED_GROWTH_BYTES_MAX = 1024;

/** A peer that vanished without a word is found by TCP within minutes, on either side. */
export const TCP_KEEP_ALIVE_MS = 30_000;

export const BLOCK_STATES = ['absent', 'written', 'durable', 'verified'] as const;
export type BlockState = (typeof BLOCK_STATES)[number];

/** What the sender says of its source at the claim; `null` where unknown. */
export interface SourceDescription {
  readonly description: string;
  readonly path: string;
  readonly model: string | null;
  readonly serial: string | null;
  /** A link in /dev/disk/by-id. */
  readonly byId?: string | null;
}

/** What the receiver says of its target; `null` where unknown. */
export interface TargetDescription {
  readonly description: string;
  readonly path: string;
  readonly model: string | null;
  readonly serial: string | null;
  readonly byId: string | null;
  /** Of a file: null, for it takes the size of the source. */
  readonly size: number | null;
  /** Logical sectors; of a file: null. */
  readonly sectorBytes: number | null;
  /** What was on it when the transfer began, in words; empty when nothing was. */
  readonly content: readonly string[];
}

/** Body of `PUT /transfer`. */
export interface Claim {
  /** Bytes; `null` of a pipe that has not ended yet. */
  readonly size: number | null;
  readonly blockSize: number;
  readonly source: SourceDescription;
  /** A pipe: read once, in order. Tells the claim that fixes its size from that of a disk. */
  readonly stream?: boolean;
  /** Of all its blocks; left out, SHA-256. */
  readonly digest?: DigestAlgorithm;
  /** Areas of the source are not read, and are zeros in its blocks. */
  readonly leavesOut?: boolean;
}

/** Of a source whose size is known. */
export interface SizedClaim extends Claim {
  readonly size: number;
}

/** Body of `GET /transfer` and of the answer to `PUT /transfer`. */
export interface TransferStatus {
  readonly protocol: number;
  readonly transferId: string;
  readonly epoch: string;
  readonly state: 'unclaimed' | 'open' | 'sealed';
  readonly size: number | null;
  readonly blockSize: number | null;
  readonly blockCount: number | null;
  /** While `size` is not known: how many bytes it may be at most. */
  readonly sizeMax: number | null;
  /** Of all blocks; null before the claim. */
  readonly digest: DigestAlgorithm | null;
  /** What a claim may ask for. */
  readonly digests: readonly string[];
  readonly source: SourceDescription | null;
  readonly target: TargetDescription;
  /** A sender on the same machine finds its own source among them, if it is the target. */
  readonly targetMarks: DiskMarks;
  readonly blocks: {
    readonly absent: number;
    readonly written: number;
    readonly durable: number;
    readonly verified: number;
  };
  /** Of a sealed transfer: ranges of blocks that a later reading found different from what was sealed. */
  readonly different: readonly Range[];
  /** How many blocks those are, listed or not. */
  readonly differentCount: number;
  /** Blocks read so far of what the target held before the claim, with `--adopt`; null when that is over. */
  readonly adopting: { readonly done: number; readonly total: number } | null;
  /** Generation of the present or next receipt: 1, and one more after each update. */
  readonly generation: number;
  /** A claim may bring another size: the transfer is being updated. */
  readonly resizable: boolean;
  /** Joined over blocks, and coarsened where there are too many to list. */
  readonly unreadable: readonly Area[];
  /** Before they were coarsened. */
  readonly unreadableCount: number;
  /**
   * Any claim before the seal has left areas of the source out: zeros on the target may never have been read.
   * null: a receiver of version 0.2 or earlier, whose receipts cannot say so.
   */
  readonly hasLeftOut: boolean | null;
  /** The weakest way in which a block was read back so far; null: none was, or an earlier version. */
  readonly readBack: ReadBackMethod | null;
  readonly limits: { readonly connections: number; readonly zeroRanges: number; readonly listing: number };
  readonly encodings: readonly string[];
  /** Whether `POST /copy` without `from` finds blocks by their digest, of whatever disk they are. */
  readonly holdsDigests: boolean;
}

/**
 * Areas that the sender has not read of its source: they are zeros in what it has sent, whatever the source
 * holds there.
 */
export interface LeftOut {
  /** Of all areas, exactly. */
  readonly bytes: number;
  /** Before they were coarsened. */
  readonly count: number;
  /** Coarsened where there are more than `UNREADABLE_AREAS_MAX`: what is outside of them was read. */
  readonly areas: readonly Area[];
}

/** Success of `PUT /blocks/:index`: what was done, all of it. */
export interface BlockResult {
  readonly transferId: string;
  readonly epoch: string;
  readonly index: number;
  readonly offset: number;
  readonly length: number;
  /** Hexadecimal: of these two the one of the transfer's algorithm. */
  readonly sha256?: string;
  readonly blake3?: string;
  readonly state: BlockState;
  readonly generation: number;
}

/** Success of `POST /zero`. */
export interface ZeroResult {
  readonly transferId: string;
  readonly epoch: string;
  readonly ranges: readonly Range[];
  readonly state: BlockState;
  readonly generation: number;
}

/** Body of `POST /prove`. */
export interface ProveRequest {
  /** 64 hexadecimal digits, hashed as this text. */
  readonly nonce: string;
  /** Each in one block. */
  readonly areas: readonly Area[];
}

/** Success of `POST /prove`. */
export interface ProveResult extends ProveRequest {
  readonly transferId: string;
  /** Hexadecimal, one for each area: SHA-256 over the nonce and the bytes on the target. */
  readonly digests: readonly string[];
}

/** What a sealed transfer's receipt says; signed as the exact bytes that are served. */
export interface SealReceipt {
  readonly v: 1;
  readonly transferId: string;
  readonly size: number;
  readonly blockSize: number;
  readonly blockCount: number;
  /** Of the blocks. */
  readonly digest: DigestAlgorithm;
  /** `sha256:<hex>` over the raw block digests in index order, of whatever kind they are. */
  readonly root: string;
  readonly verified: 'read-back' | 'none';
  /** The weakest way in which a block was; null when not read back. */
  readonly readBack: ReadBackMethod | null;
  /** Read as zeros because the source could not be read there; coarsened where there are too many. */
  readonly unreadable: readonly Area[];
  /** Zeros because the sender has left these areas out; null: it has read all of the source. */
  readonly leftOut: LeftOut | null;
  readonly sealedAt: string;
  /** When the target was last read back and equal: at the seal, or later by a run that only compared. */
  readonly verifiedAt: string;
  /** 1, and one more after each update. */
  readonly generation: number;
  /** The receipt before this one; null for the first. */
  readonly previous: { readonly generation: number; readonly sealedAt: string; readonly root: string } | null;
  readonly target: TargetDescription;
  readonly source: SourceDescription | null;
  readonly receiverKey: string;
}

const ABSENT = Buffer.alloc(DIGEST_BYTES);

/** In a binary listing a block that is not durable is 32 zero bytes. */
export function isAbsentDigest(digest: Buffer): boolean {
  return digest.equals(ABSENT);
}
