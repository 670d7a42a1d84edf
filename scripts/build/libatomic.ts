/**
 * Node.js needs libatomic.so.1, which no Debian or Ubuntu has from the start, for one function. Here the
 * executable gets that function itself: docs/decisions/0075-the-one-file-brings-its-own-libatomic.md.
 */
import { Elf, MACHINES } from './elf.ts';

const LIBRARY = 'libatomic.so.1';
const FUNCTION = '__atomic_compare_exchange';

/** Of entries of the dynamic section. */
const NEEDED = 1;
const PLT_RELOCATION_BYTES = 2;
const STRINGS = 5;
const SYMBOLS = 6;
const RELOCATIONS = 7;
const RELOCATION_BYTES = 8;
const PLT_RELOCATIONS = 23;
const SYMBOL_VERSIONS = 0x6ffffff0;
const NEEDED_VERSIONS = 0x6ffffffe;
const NEEDED_VERSION_COUNT = 0x6fffffff;

const SYMBOL_ENTRY_BYTES = 24;
const RELOCATION_ENTRY_BYTES = 24;
/** STB_LOCAL, STT_FUNC, STV_HIDDEN, SHN_ABS: the loader takes the address as it is, and looks for no name. */
const LOCAL_FUNCTION = 2;
const HIDDEN = 2;
const ABSOLUTE = 0xfff1;
const CODE_ALIGNMENT_BYTES = 16;

export interface Processor {
  /**
   * `bool __atomic_compare_exchange(size_t size, void *at, void *expected, void *desired, int, int)` for
   * eight bytes, in the strictest order whatever is asked for; another size is an illegal instruction. Each
   * line: the bytes of an instruction, and its assembly.
   */
  readonly code: readonly (readonly [bytes: string, assembly: string])[];
  /** From the value that a slot has before the loader fills it to the code that jumps to where it leads. */
  readonly stubOf: (slotValue: number, index: number) => number;
  /** Whether there is a call, or a jump, and where it leads. */
  readonly callAt: (text: Buffer, offset: number) => number | undefined;
  readonly instructionBytes: number;
  /** What sets the size to eight. */
  readonly setsEight: string;
}

export const PROCESSORS: Readonly<Record<number, Processor>> = {
  [MACHINES.x64]: {
    code: [
      ['4883ff08', 'cmp $8, %rdi'],
      ['7519', 'jne 2f'],
      ['488b02', 'mov (%rdx), %rax'],
      ['4c8b11', 'mov (%rcx), %r10'],
      ['f04c0fb116', 'lock cmpxchg %r10, (%rsi)'],
      ['7506', 'jne 1f'],
      ['b801000000', 'mov $1, %eax'],
      ['c3', 'ret'],
      ['488902', '1: mov %rax, (%rdx)'],
      ['31c0', 'xor %eax, %eax'],
      ['c3', 'ret'],
      ['0f0b', '2: ud2'],
    ],
    stubOf: (slotValue) => slotValue - 6,
    callAt: (text, offset) => {
      const isCall = text[offset] === 0xe8 || text[offset] === 0xe9;
      return isCall && offset + 5 <= text.length ? offset + 5 + text.readInt32LE(offset + 1) : undefined;
    },
    instructionBytes: 1,
    setsEight: 'bf08000000',
  },
  [MACHINES.arm64]: {
    code: [
      ['1f2000f1', 'cmp x0, #8'],
      ['c1010054', 'b.ne 3f'],
      ['440040f9', 'ldr x4, [x2]'],
      ['650040f9', 'ldr x5, [x3]'],
      ['26fc5fc8', '1: ldaxr x6, [x1]'],
      ['df0004eb', 'cmp x6, x4'],
      ['a1000054', 'b.ne 2f'],
      ['25fc07c8', 'stlxr w7, x5, [x1]'],
      ['87ffff35', 'cbnz w7, 1b'],
      ['20008052', 'mov w0, #1'],
      ['c0035fd6', 'ret'],
      ['5f3f03d5', '2: clrex'],
      ['460000f9', 'str x6, [x2]'],
      ['00008052', 'mov w0, #0'],
      ['c0035fd6', 'ret'],
      ['200020d4', '3: brk #1'],
    ],
    stubOf: (slotValue, index) => slotValue + 32 + 16 * index,
    callAt: (text, offset) => {
      const word = text.readUInt32LE(offset);
      // The last 26 bits count instructions, with a sign.
      const distance = ((word << 6) >> 6) * 4;
      return ((word >>> 26) & 0x1f) === 0x05 ? offset + distance : undefined;
    },
    instructionBytes: 4,
    setsEight: '00018052',
  },
};

/** How far before a call its size is set, at most. */
const SETTING_BYTES_MAX = 96;

/**
 * Changes the executable in place.
 * @throws Error where it needs something else of the library than this knows to replace.
 */
export function replaceLibatomic(program: Buffer<ArrayBuffer>): void {
  const elf = new Elf(program);
  const processor = PROCESSORS[elf.machine];
  if (processor === undefined) throw new Error(`no code for processors of kind ${elf.machine}`);
  const version = removeVersion(elf);
  const slots = slotsOf(elf, version);
  const [slot] = slots;
  if (slot === undefined || slots.length > 1 || slot.name !== FUNCTION) {
    const names = slots.map(({ name }) => name).join(', ');
    throw new Error(`Node.js needs from ${LIBRARY}: ${names || 'nothing'}; expected: ${FUNCTION}`);
  }
  checkCallers(elf, processor, processor.stubOf(slot.value, slot.index));
  removeLibrary(elf);
  const code = Buffer.from(processor.code.map(([bytes]) => bytes).join(''), 'hex');
  const address = appendCode(elf, code);
  const { bytes } = elf;
  bytes[slot.symbol + 4] = LOCAL_FUNCTION;
  bytes[slot.symbol + 5] = HIDDEN;
  bytes.writeUInt16LE(ABSOLUTE, slot.symbol + 6);
  elf.writeWord(address, slot.symbol + 8);
  elf.writeWord(code.length, slot.symbol + 16);
  bytes.writeUInt16LE(0, slot.version);
}

/** Takes the library out of the list of those whose versions are compared. @returns its version's number. */
function removeVersion(elf: Elf): number {
  const { bytes } = elf;
  const first = elf.entry(NEEDED_VERSIONS);
  const count = elf.entry(NEEDED_VERSION_COUNT);
  const strings = elf.offsetOf(elf.entry(STRINGS).value);
  let before: number | undefined;
  let at = elf.offsetOf(first.value);
  for (let index = 0; index < count.value; index++) {
    const distance = bytes.readUInt32LE(at + 12);
    if (elf.textAt(strings + bytes.readUInt32LE(at + 4)) === LIBRARY) {
      if (bytes.readUInt16LE(at + 2) !== 1) throw new Error(`more than one version of ${LIBRARY} is needed`);
      if (before === undefined) elf.writeWord(first.value + distance, first.offset + 8);
      else bytes.writeUInt32LE(distance === 0 ? 0 : at + distance - before, before + 12);
      elf.writeWord(count.value - 1, count.offset + 8);
      return bytes.readUInt16LE(at + bytes.readUInt32LE(at + 8) + 6);
    }
    before = at;
    at += distance;
  }
  throw new Error(`Node.js does not need ${LIBRARY} any more: this step of the build can go`);
}

interface Slot {
  readonly name: string;
  /** Its place among the relocations of its table. */
  readonly index: number;
  /** Before the loader fills it. */
  readonly value: number;
  /** Offsets in the file. */
  readonly symbol: number;
  readonly version: number;
}

/** What the loader fills with addresses of symbols of this version. */
function slotsOf(elf: Elf, version: number): Slot[] {
  const offsets = (tag: number): number => elf.offsetOf(elf.entry(tag).value);
  const [strings, symbols, versions] = [STRINGS, SYMBOLS, SYMBOL_VERSIONS].map(offsets) as [
    number,
    number,
    number,
  ];
  const found: Slot[] = [];
  for (const [table, size] of [
    [PLT_RELOCATIONS, PLT_RELOCATION_BYTES],
    [RELOCATIONS, RELOCATION_BYTES],
  ] as const) {
    const count = elf.entry(size).value / RELOCATION_ENTRY_BYTES;
    for (let index = 0; index < count; index++) {
      const relocation = offsets(table) + index * RELOCATION_ENTRY_BYTES;
      const number = elf.bytes.readUInt32LE(relocation + 12);
      if ((elf.bytes.readUInt16LE(versions + 2 * number) & 0x7fff) !== version) continue;
      const symbol = symbols + number * SYMBOL_ENTRY_BYTES;
      found.push({
        name: elf.textAt(strings + elf.bytes.readUInt32LE(symbol)),
        index,
        value: elf.wordAt(elf.offsetOf(elf.wordAt(relocation))),
        symbol,
        version: versions + 2 * number,
      });
    }
  }
  return found;
}

/** @throws Error if the function is called with a size that it is not made for, or if nobody calls it. */
function checkCallers(elf: Elf, { callAt, instructionBytes, setsEight }: Processor, stub: number): void {
  const { offset, sizeBytes, address } = codeSegment(elf);
  const text = elf.bytes.subarray(offset, offset + sizeBytes);
  const setting = Buffer.from(setsEight, 'hex');
  let count = 0;
  for (let at = 0; at + instructionBytes <= text.length; at += instructionBytes) {
    if (callAt(text, at) !== stub - address) continue;
    count++;
    if (!text.subarray(Math.max(0, at - SETTING_BYTES_MAX), at).includes(setting)) {
      const where = `0x${(address + at).toString(16)}`;
      throw new Error(`Node.js calls ${FUNCTION} at ${where} with a size that is not known to be 8`);
    }
  }
  if (count === 0) throw new Error(`nothing in Node.js calls ${FUNCTION}: it was looked for wrongly`);
}

function codeSegment(elf: Elf): Elf['segments'][number] {
  const found = elf.segments.filter(({ isExecutable }) => isExecutable);
  if (found.length !== 1 || found[0] === undefined) throw new Error(`${found.length} segments hold code`);
  return found[0];
}

/** The entries behind it move up, and the one that ends them twice remains. */
function removeLibrary(elf: Elf): void {
  const strings = elf.offsetOf(elf.entry(STRINGS).value);
  const entries = elf.dynamic;
  const index = entries.findIndex(
    ({ tag, value }) => tag === NEEDED && elf.textAt(strings + value) === LIBRARY,
  );
  const [own, last] = [entries[index], entries.at(-1)];
  if (own === undefined || last === undefined) throw new Error(`${LIBRARY} is not in the list of libraries`);
  const entryBytes = 16;
  elf.bytes.copyWithin(own.offset, own.offset + entryBytes, last.offset + entryBytes);
  elf.bytes.fill(0, last.offset, last.offset + entryBytes);
}

/** In what is unused of the last page that is mapped for code. @returns its address. */
function appendCode(elf: Elf, code: Buffer): number {
  const { header, offset, address, sizeBytes } = codeSegment(elf);
  const end = offset + sizeBytes;
  const start = Math.ceil(end / CODE_ALIGNMENT_BYTES) * CODE_ALIGNMENT_BYTES;
  const next = Math.min(...elf.segments.map((each) => each.offset).filter((each) => each >= end));
  const isFree = elf.bytes.subarray(end, start + code.length).every((byte) => byte === 0);
  if (start + code.length > next || !isFree) throw new Error('there is no room behind the code of Node.js');
  code.copy(elf.bytes, start);
  const newSize = start + code.length - offset;
  elf.writeWord(newSize, header + 32);
  elf.writeWord(newSize, header + 40);
  return address + start - offset;
}
