/**
 * Random blocks of the source, as they were read in this run, with digests that the receiver can only make
 * from the same bytes: it does not know the nonce before it has said that it has them all. Made while a block
 * is in memory, so that nothing is read twice, and a pipe is proven as a disk is.
 */
import { proofDigest } from '../../common/digest/proof-digest.ts';
import { PROVE_BLOCKS_MAX } from '../../common/protocol/protocol.ts';
import type { ReadBlock } from '../source/read-block.ts';

/** What the receiver has to read again at the end: a second or two, of a disk that turns. */
const PROOF_BYTES_MAX = 256 * 1024 * 1024;

export interface ProofSecrets {
  /** 64 hexadecimal digits. */
  readonly nonce: string;
  /** Uniform in [0, below). */
  readonly random: (below: number) => number;
}

export class ProofSample {
  readonly nonce: string;
  readonly #random: ProofSecrets['random'];
  readonly #countMax: number;
  readonly #sample: { readonly index: number; readonly digest: Buffer }[] = [];
  #seen = 0;

  constructor({ nonce, random }: ProofSecrets, blockSizeBytes: number) {
    this.nonce = nonce;
    this.#random = random;
    this.#countMax = Math.min(PROVE_BLOCKS_MAX, Math.floor(PROOF_BYTES_MAX / blockSizeBytes));
  }

  /**
   * To be called once for each block that is read; every block has the same chance (reservoir sampling).
   * Zeros are left out: anybody has their bytes.
   * @param block must not change until the promise settles.
   */
  async offer({ index, bytes, isZero }: Pick<ReadBlock, 'index' | 'bytes' | 'isZero'>): Promise<void> {
    if (isZero) return;
    const nth = this.#seen++;
    const place = nth < this.#countMax ? nth : this.#random(nth + 1);
    if (place >= this.#countMax) return;
    const digest = await proofDigest(this.nonce, bytes);
    this.#sample[place] = { index, digest };
  }

  get blocks(): readonly { readonly index: number; readonly digest: Buffer }[] {
    return this.#sample;
  }
}
