/**
 * The areas of a block that the receiver has recorded as unreadable. A list that is too long to be sent is
 * coarsened: it covers all of them and more, and the receiver has to be asked about each block.
 */
import { areasWithin, parseSourceErrors, type Area } from '../../common/areas.ts';
import { blockIndexOf, lengthOf, offsetOf, type Geometry } from '../../common/geometry.ts';
import type { TransferStatus } from '../../common/protocol/protocol.ts';
import type { BlockHead } from '../client/receiver-port.ts';

type Recorded = Pick<TransferStatus, 'unreadable' | 'unreadableCount'>;
type HeadBlock = (index: number) => Promise<BlockHead | 'absent'>;

export class RecordedAreas {
  readonly #areas: readonly Area[];
  readonly #isExact: boolean;
  readonly #geometry: Geometry;

  /** @param recorded the receiver's list at the start. */
  constructor({ unreadable, unreadableCount }: Recorded, geometry: Geometry) {
    this.#areas = unreadable;
    this.#isExact = unreadableCount === unreadable.length;
    this.#geometry = geometry;
  }

  /** Whether the block may have any. */
  has(index: number): boolean {
    const { offset, lengthBytes } = this.#placeOf(index);
    return areasWithin(this.#areas, offset, lengthBytes).length > 0;
  }

  /** @param head asks the receiver. */
  async of(index: number, head: HeadBlock): Promise<readonly Area[]> {
    const place = this.#placeOf(index);
    const listed = areasWithin(this.#areas, place.offset, place.lengthBytes);
    if (listed.length === 0 || this.#isExact) return listed;
    const answer = await head(index);
    if (answer === 'absent' || answer.sourceErrors === '') return [];
    return parseSourceErrors(answer.sourceErrors, { ...place, sizeBytes: this.#geometry.sizeBytes });
  }

  #placeOf(index: number): { offset: number; lengthBytes: number } {
    const block = blockIndexOf(index, this.#geometry);
    return { offset: offsetOf(block, this.#geometry), lengthBytes: lengthOf(block, this.#geometry) };
  }
}
