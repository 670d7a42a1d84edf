/** How often each address did something, in bounded memory and a bounded text. */

/** Addresses that are counted by themselves. */
const ADDRESSES_COUNTED_MAX = 256;
/** Addresses in a line of the log. */
const ADDRESSES_NAMED_MAX = 5;

export class AddressTally {
  readonly #counts = new Map<string, number>();
  #total = 0;

  get isEmpty(): boolean {
    return this.#total === 0;
  }

  add(address: string): void {
    this.#total++;
    const count = this.#counts.get(address);
    if (count === undefined && this.#counts.size >= ADDRESSES_COUNTED_MAX) return;
    this.#counts.set(address, (count ?? 0) + 1);
  }

  /** `203.0.113.9 (12000), 198.51.100.7 (3), others (40)`; the most frequent first. */
  text(): string {
    const most = [...this.#counts].toSorted(([, one], [, other]) => other - one);
    const named = most.slice(0, ADDRESSES_NAMED_MAX);
    const others = named.reduce((rest, [, count]) => rest - count, this.#total);
    const parts = named.map(([address, count]) => `${address} (${count})`);
    if (others > 0) parts.push(`others (${others})`);
    return parts.join(', ');
  }
}
