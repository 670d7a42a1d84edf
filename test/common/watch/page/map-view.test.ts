import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { CELLS_MAX, MapView } from '../../../../common/watch/page/map-view.ts';

function viewOf(blockCount: number, width = 900, height = 420): MapView {
  const view = new MapView();
  view.setSize(width, height);
  view.setBlocks(blockCount);
  return view;
}

test('the whole disk is shown, from 26 blocks to 2.6 million, in cells of a power of two', () => {
  for (const [blockCount, expected] of [
    [26, 1],
    [4096, 1],
    [4097, 2],
    [2_600_000, 1024],
  ] as const) {
    const { first, end, blocksPerCell, columns, rows, cellPixels } = viewOf(blockCount).layout;
    assert.deepEqual([first, end, blocksPerCell], [0, blockCount, expected], String(blockCount));
    assert(columns * cellPixels <= 900 && rows * cellPixels <= 420);
  }
});

test('however it is zoomed and moved, cells fit, and each block has its own', () => {
  const step = fc.oneof(
    fc.record({ zoom: fc.constantFrom(0.5, 2, 0.9), at: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
    fc.record({ pan: fc.integer({ min: -50, max: 50 }) }),
    fc.record({ reveal: fc.double({ min: 0, max: 0.999, noNaN: true }) }),
    fc.constant('all' as const),
  );
  const sizes = fc.tuple(fc.integer({ min: 1, max: 3_000_000 }), fc.integer({ min: 100, max: 1400 }));
  fc.assert(
    fc.property(sizes, fc.array(step, { maxLength: 30 }), ([blockCount, width], steps) => {
      const view = viewOf(blockCount, width);
      for (const one of steps) {
        if (one === 'all') view.showAll();
        else if ('zoom' in one) view.zoom(one.zoom, Math.floor(one.at * blockCount));
        else if ('pan' in one) view.pan(one.pan);
        else {
          const index = Math.floor(one.reveal * blockCount);
          view.reveal(index);
          const { first, end } = view.layout;
          assert(index >= first && index < end, `${index} in ${first} to ${end}`);
        }
        const { first, end, cellCount, columns, rows, cellPixels, blocksPerCell } = view.layout;
        assert(first >= 0 && first < end && end <= blockCount);
        assert(cellCount >= 1 && cellCount <= CELLS_MAX && cellCount <= columns * rows);
        assert(columns * cellPixels <= width && rows * cellPixels <= 420 + cellPixels);
        const last = cellCount - 1;
        const [x, y] = [(last % columns) * cellPixels + 1, Math.floor(last / columns) * cellPixels + 1];
        assert.equal(view.blockAt(x, y), first + last * blocksPerCell);
        assert.equal(view.cellOf(end - 1), last);
      }
    }),
    { numRuns: 200 },
  );
});

test('zooming keeps the block under the pointer near where it was, down to single blocks', () => {
  const view = viewOf(2_600_000);
  const index = 1_234_567;
  for (let times = 0; times < 16; times++) view.zoom(0.5, index);
  const { first, end, blocksPerCell, cellPixels } = view.layout;
  assert.equal(blocksPerCell, 1);
  assert(index >= first && index < end && end - first <= 64 && cellPixels > 20);
  for (let times = 0; times < 20; times++) view.zoom(2, index);
  assert(view.isWhole && view.layout.end === 2_600_000);
});
