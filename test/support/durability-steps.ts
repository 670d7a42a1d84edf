/** What can happen to a transfer, one step at a time, for durability-simulation.ts. */
import * as fc from 'fast-check';

export const SIMULATED_BLOCKS = 5;

export type Step =
  | { readonly kind: 'put'; readonly index: number; readonly version: number; readonly isFlushed: boolean }
  | { readonly kind: 'zero'; readonly first: number; readonly count: number; readonly isFlushed: boolean }
  | { readonly kind: 'flush' }
  | { readonly kind: 'tick'; readonly ms: number }
  | { readonly kind: 'fault'; readonly operation: 'write' | 'flush'; readonly errno: 'EIO' | 'ENOSPC' }
  | { readonly kind: 'hold' | 'release'; readonly operation: 'write' | 'flush' }
  | { readonly kind: 'journal'; readonly isFull: boolean }
  | { readonly kind: 'crash'; readonly writtenBack: 'none' | 'all' };

const index = fc.nat(SIMULATED_BLOCKS - 1);
const operation = fc.constantFrom('write' as const, 'flush' as const);
const put = fc.record({
  kind: fc.constant('put' as const),
  index,
  version: fc.integer({ min: 0, max: 3 }),
  isFlushed: fc.boolean(),
});
const zero = fc.record({
  kind: fc.constant('zero' as const),
  first: index,
  count: fc.integer({ min: 1, max: 3 }),
  isFlushed: fc.boolean(),
});
/** Writing is more frequent than failing, and a crash is rare. */
export const anyStep: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: put },
  { weight: 3, arbitrary: zero },
  { weight: 4, arbitrary: fc.constant({ kind: 'flush' as const }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('tick' as const), ms: fc.constantFrom(1000, 3000) }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('hold' as const), operation }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('release' as const), operation }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('fault' as const),
      operation,
      errno: fc.constantFrom('EIO' as const, 'ENOSPC' as const),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('journal' as const), isFull: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('crash' as const),
      writtenBack: fc.constantFrom('none' as const, 'all' as const),
    }),
  },
);
