/**
 * Random areas of the source, as they were read in this run, with digests that the receiver can only make
 * from the same bytes: it does not know the nonce, nor which areas they are, before it has said that it has
 * everything. Made while a block is in memory, so that nothing is read twice, and a pipe is proven as a disk
 * is.
 */
import type { Area } from '../../common/areas.ts';
import { proofDigest } from '../../common/digest/proof-digest.ts';
import { isZero } from '../../common/io/zeros.ts';
import { PROVE_AREAS_MAX, PROVE_AREA_BYTES_MAX } from '../../common/protocol/protocol.ts';
import type { ReadBlock } from '../source/read-block.ts';

export interface ProofSecrets {
  /** 64 hexadecimal digits. */
  readonly nonce: string;
  /** Uniform in [0, below). */
  readonly random: (below: number) => number;
}

export class ProofSample {
  readonly nonce: string;
  readonly #random: ProofSecrets['random'];
  readonly #blockSizeBytes: number;
  readonly #sample: { readonly area: Area; readonly digest: Buffer }[] = [];
  #seen = 0;

  constructor({ nonce, random }: ProofSecrets, blockSizeBytes: number) {
    this.nonce = nonce;
    this.#random = random;
    this.#blockSizeBytes = blockSizeBytes;
  }

  /**
   * To be called once for each block that is read; every block has the same chance (reservoir sampling).
   * Zeros are left out: anybody has their bytes.
   */
  offer({ index, bytes, isZero: isEmpty }: Pick<ReadBlock, 'index' | 'bytes' | 'isZero'>): void {
    if (isEmpty) return;
    const nth = this.#seen++;
    const place = nth < PROVE_AREAS_MAX ? nth : this.#random(nth + 1);
    if (place >= PROVE_AREAS_MAX) return;
    const at = this.#choose(bytes);
    const part = bytes.subarray(at, at + PROVE_AREA_BYTES_MAX);
    const area: Area = [index * this.#blockSizeBytes + at, part.length];
    this.#sample[place] = { area, digest: proofDigest(this.nonce, part) };
  }

  /** In the order of their offsets, each in a block of its own. */
  get areas(): readonly { readonly area: Area; readonly digest: Buffer }[] {
    return this.#sample.toSorted((a, b) => a.area[0] - b.area[0]);
  }

  /** @returns where a random part of the block begins, or the next one that is not zeros. */
  #choose(bytes: Buffer): number {
    const parts = Math.ceil(bytes.length / PROVE_AREA_BYTES_MAX);
    const first = parts === 1 ? 0 : this.#random(parts);
    for (let nth = first; nth < first + parts; nth++) {
      const at = (nth % parts) * PROVE_AREA_BYTES_MAX;
      if (!isZero(bytes.subarray(at, at + PROVE_AREA_BYTES_MAX))) return at;
    }
    return first * PROVE_AREA_BYTES_MAX;
  }
}
