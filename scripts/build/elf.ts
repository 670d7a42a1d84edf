/** Executables of Linux, for 64-bit little-endian processors (elf(5)). */

/** As in e_machine. */
export const MACHINES = { x64: 62, arm64: 183 } as const;

const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const EXECUTABLE_FLAG = 1;
const PROGRAM_HEADER_BYTES = 56;
const DYNAMIC_ENTRY_BYTES = 16;

export interface Segment {
  /** Offset of its header in the file. */
  readonly header: number;
  readonly isExecutable: boolean;
  readonly offset: number;
  readonly address: number;
  readonly sizeBytes: number;
}

export interface DynamicEntry {
  readonly tag: number;
  readonly value: number;
  /** Where it is in the file. */
  readonly offset: number;
}

/** A view: changes of the bytes are changes of the file. */
export class Elf {
  readonly bytes: Buffer<ArrayBuffer>;

  constructor(bytes: Buffer<ArrayBuffer>) {
    this.bytes = bytes;
  }

  get machine(): number {
    return this.bytes.readUInt16LE(18);
  }

  /** Those that are loaded, in order of their addresses. */
  get segments(): Segment[] {
    return this.#headers(PT_LOAD).map((header) => ({
      header,
      isExecutable: (this.bytes.readUInt32LE(header + 4) & EXECUTABLE_FLAG) !== 0,
      offset: this.wordAt(header + 8),
      address: this.wordAt(header + 16),
      sizeBytes: this.wordAt(header + 32),
    }));
  }

  /** Up to the entry that ends them. */
  get dynamic(): DynamicEntry[] {
    const [header = 0] = this.#headers(PT_DYNAMIC);
    const entries: DynamicEntry[] = [];
    for (let offset = this.wordAt(header + 8); ; offset += DYNAMIC_ENTRY_BYTES) {
      const tag = this.wordAt(offset);
      if (tag === 0) return entries;
      entries.push({ tag, value: this.wordAt(offset + 8), offset });
    }
  }

  /** @throws Error where there is no such entry. */
  entry(tag: number): DynamicEntry {
    const found = this.dynamic.find((entry) => entry.tag === tag);
    if (found === undefined) throw new Error(`the executable has no dynamic entry ${tag}`);
    return found;
  }

  /** A number of 64 bits. */
  wordAt(offset: number): number {
    return Number(this.bytes.readBigUInt64LE(offset));
  }

  writeWord(value: number, offset: number): void {
    this.bytes.writeBigUInt64LE(BigInt(value), offset);
  }

  /** Where in the file is what will be at this address. */
  offsetOf(address: number): number {
    const found = this.segments.find(
      (segment) => address >= segment.address && address < segment.address + segment.sizeBytes,
    );
    if (found === undefined) throw new Error(`the executable has nothing at 0x${address.toString(16)}`);
    return address - found.address + found.offset;
  }

  textAt(offset: number): string {
    return this.bytes.toString('latin1', offset, this.bytes.indexOf(0, offset));
  }

  #headers(type: number): number[] {
    const first = this.wordAt(32);
    const count = this.bytes.readUInt16LE(56);
    const all = Array.from({ length: count }, (_none, index) => first + index * PROGRAM_HEADER_BYTES);
    return all.filter((header) => this.bytes.readUInt32LE(header) === type);
  }
}

/** Without what is not loaded when it runs: symbols and sections for debuggers, a fifth of Node.js. */
export function stripped(program: Buffer<ArrayBuffer>): Buffer<ArrayBuffer> {
  const end = Math.max(...new Elf(program).segments.map(({ offset, sizeBytes }) => offset + sizeBytes));
  const bytes = Buffer.from(program.subarray(0, end));
  // The section headers were behind it: their offset, size, number, and the section of their names.
  bytes.writeBigUInt64LE(0n, 40);
  bytes.fill(0, 58, 64);
  return bytes;
}
