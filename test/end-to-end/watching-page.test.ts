/** The page of --web by itself: a finished copy, keyboard, screen reader, phone, and in the one file. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { systemClock } from '../../common/clock.ts';
import { BlockMarks } from '../../common/watch/block-marks.ts';
import { BLOCK_KINDS } from '../../common/watch/block-kinds.ts';
import type { PageFile } from '../../common/watch/page-files.ts';
import { pageRoutes } from '../../common/watch/page-routes.ts';
import { WatchLog } from '../../common/watch/watch-log.ts';
import { startWatchServer, type WatchRoute } from '../../common/watch/watch-server.ts';
import { WatchStreams, type WatchedCopy } from '../../common/watch/watch-stream.ts';
import { pageFilesModule } from '../../scripts/build/page-files.ts';
import { startBrowser, WatchedPage } from '../support/browser.ts';
import { SMALL_BLOCKS } from '../support/copied.ts';
import { prng } from '../support/prng.ts';
import { KIB, runSender, startReceiver, startSender } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';
import { tempDir } from '../support/temp-dir.ts';

const skip = unlessInstalled('chromium');
let browser: Browser;
before(async () => {
  if (skip === false) browser = await startBrowser();
});
after(async () => {
  if (skip === false) await browser.close();
});

/** A receiver's table of any size, served by this process. */
function tableOf(marks: BlockMarks): WatchedCopy {
  return {
    name: 'disk',
    log: new WatchLog(),
    blocks: marks,
    block: (index) => ({ index, digest: `blake3 digest-of-${index}`, lane: 3, atMs: null }),
    status: () => ({
      side: 'receiver',
      nowMs: systemClock.wallMs(),
      startedAtMs: 0,
      headline: 'Receiving: 50 %',
      state: 'running',
      source: null,
      target: '/dev/vdd: \u05D3\u05D9\u05E1\u05E7 7',
      place: null,
      percent: 50,
      amount: null,
      eta: null,
      figures: [],
      lanes: [],
      bottleneck: null,
      trouble: null,
      unreadable: [],
      unreadableText: null,
      facts: [],
      result: null,
      map: {
        id: 1,
        blockCount: marks.blockCount,
        blockSizeBytes: 4 * KIB,
        sizeBytes: marks.blockCount * 4 * KIB - 1,
        names: Object.fromEntries(BLOCK_KINDS.map((kind) => [kind, `is ${kind}`])),
      },
      counts: marks.counts,
    }),
  };
}

async function serve(
  copies: readonly WatchedCopy[],
  page?: readonly WatchRoute[],
): Promise<{ url: string } & AsyncDisposable> {
  const streams = new WatchStreams(copies, systemClock);
  const routes = [...(page ?? (await pageRoutes())), ...streams.routes];
  return await startWatchServer({ host: '127.0.0.1', port: 0 }, routes);
}

test('a finished copy is shown from its receipt, without a running one', { skip }, async () => {
  await using folder = await tempDir();
  const [source, target] = [join(folder.path, 'source.img'), join(folder.path, 'target.img')];
  const receipt = join(folder.path, 'receipt.json');
  const bytes = prng(5).bytes(20 * 64 * KIB);
  bytes.fill(0, 0, 4 * 64 * KIB);
  await writeFile(source, bytes);
  await using receiver = await startReceiver({ folder: folder.path, target });
  const options = ['--ticket-file', receiver.ticketFile, ...SMALL_BLOCKS, '--receipt', receipt, source];
  assert.equal((await runSender(options)).status, 0);
  await receiver.end('SIGTERM');
  await using shown = await startSender(['--web', '--show', receipt]);
  const [, url = ''] = await shown.waitForLine(/^web {6}(http:\/\/\S+)$/);
  const page = await WatchedPage.open(browser, url);
  await page.shows('#result', /^Proven equal/);
  await page.shows('#disks', new RegExp(`${source}: regular file`));
  assert.deepEqual(await page.counts(), { 'read back, equal': 16, 'zeros, read back, equal': 4 });
  await page.shows('#facts', /SHA256:/);
  await page.page.focus('#map');
  await page.page.keyboard.press('ArrowRight');
  await page.shows(
    '#pointed',
    /^Block 0: zeros, read back, equal\n+offset 0, 65,536 bytes\n+digest blake3 [0-9a-f]{64}$/,
  );
  page.assertClean(url);
  shown.kill('SIGINT');
  assert.equal((await shown.ended).status, 0);
  const altered = await runSender(['--web', '--show', `${receipt}.sig`]);
  assert.equal(altered.status, 2, 'not a receipt');
});

test('2.6 million blocks fold into 4,096 cells, and one of them is found by keyboard', { skip }, async () => {
  const marks = new BlockMarks(2_600_000);
  marks.setAll([[0, 1_300_000]], 'durable');
  marks.set(1_000_000, 'unreadable');
  await using server = await serve([tableOf(marks)]);
  const page = await WatchedPage.open(browser, server.url);
  await page.shows('#scale', /^all 2,600,000; cells of 1,024 blocks each$/);
  assert.deepEqual(await page.counts(), {
    'is absent': 1_300_000,
    'is durable': 1_299_999,
    'is unreadable': 1,
  });
  assert.match(
    (await page.page.getAttribute('#map', 'aria-label')) ?? '',
    /^Map of 2,600,000 blocks; some: is unreadable$/,
  );
  const keys = page.page.keyboard;
  await page.page.focus('#map');
  await keys.press('ArrowRight');
  await page.shows('#pointed', /^Blocks 0 to 1,023\n+1,024 is durable\n+from offset 0$/);
  await keys.press('End');
  await page.shows('#pointed', /^Blocks 2,599,936 to 2,599,999\n/);
  await keys.press('Enter');
  await page.shows('#scale', /; cells of one block each$/);
  await page.shows('#pointed', /^Block 2,599,\d+: is absent\n/);
  await keys.press('0');
  await page.shows('#scale', /^all 2,600,000/);
  // Changes come while it is looked at, and no more than changes.
  marks.setAll([[1_300_000, 10]], 'lost');
  await page.shows('#legend', /is lost\t?\s*10\s/);
  page.assertClean(server.url);
});

test('a screen reader and a keyboard find everything, and a phone shows it', { skip }, async () => {
  const marks = new BlockMarks(300);
  marks.setAll([[0, 100]], 'verified');
  await using server = await serve([tableOf(marks), { ...tableOf(new BlockMarks(26)), name: '<b>two</b>' }]);
  for (const colorScheme of ['light', 'dark'] as const) {
    const phone = { viewport: { width: 360, height: 780 }, colorScheme };
    const watched = await WatchedPage.open(browser, server.url, phone);
    const { page } = watched;
    await page.waitForSelector('#legend tbody tr');
    const widths = await page.evaluate('[document.documentElement.scrollWidth, innerWidth]');
    assert.deepEqual(widths, [360, 360], 'nothing is cut off');
    const nameless = await page.$$eval('button, select, canvas:not([role=img] *), [tabindex]', (all) =>
      all
        .filter((one) => {
          const label = one.getAttribute('aria-label') ?? one.getAttribute('aria-labelledby');
          return (label ?? one.closest('label')?.textContent ?? one.textContent).trim() === '';
        })
        .map((one) => one.outerHTML),
    );
    assert.deepEqual(nameless, []);
    const snapshot = await page.locator('body').ariaSnapshot();
    for (const part of [
      /heading "Receiving: 50 %" \[level=1\]/,
      /progressbar/,
      /button "Zoom in"/,
      /table "What the colors mean"/,
      /rowheader "is verified"/,
      /combobox "Target"/,
      /status: Live/,
    ]) {
      assert.match(snapshot, part);
    }
    const contrast = await page.evaluate<{ selector: string; ratio: number }[]>(CONTRAST_OF_TEXT);
    assert(
      contrast.every(({ ratio }) => ratio >= 4.5),
      JSON.stringify(contrast),
    );
    assert.equal(
      await page.$eval('#disks bdi', (one) => one.textContent),
      '/dev/vdd: \u05D3\u05D9\u05E1\u05E7 7',
    );
    await page.selectOption('#copy', { label: '<b>two</b>' });
    await watched.shows('#scale', /^all 26;/);
    assert.deepEqual(watched.trouble, []);
  }
});

/** Of the kinds of text on the page, with what is behind them, as WCAG 2 computes it. Runs in the browser. */
const CONTRAST_OF_TEXT = `
  const numbers = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const parts = (color) => numbers(color).slice(0, 3).map((part) => part / 255);
  const linear = (part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const weights = [0.2126, 0.7152, 0.0722];
  const light = (color) => parts(color).map(linear).reduce((sum, part, at) => sum + part * weights[at], 0);
  const backOf = (one) => {
    const color = getComputedStyle(one).backgroundColor;
    return numbers(color)[3] === 0 ? backOf(one.parentElement) : color;
  };
  ['h1', '.soft', '#link', 'caption', 'thead th', 'tbody th', 'dt', 'dd', 'button'].map((selector) => {
    const one = document.querySelector(selector);
    const [text, back] = [light(getComputedStyle(one).color), light(backOf(one))];
    return { selector, ratio: (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05) };
  })`;

test('the one file has the same page, as one module', { skip }, async () => {
  const module = `data:text/javascript,${encodeURIComponent(await pageFilesModule())}`;
  const { readPageFiles } = (await import(module)) as { readPageFiles: () => Promise<PageFile[]> };
  const files = await readPageFiles();
  const modules = files.map(({ path }) => path).filter((path) => path.endsWith('.ts'));
  assert.deepEqual(modules.toSorted(), ['/page/fleet.ts', '/page/main.ts']);
  const routes = files.map(({ path, type, text }) => ({
    path,
    isPublic: true,
    answer: () => ({ type, body: text }),
  }));
  await using server = await serve([tableOf(new BlockMarks(26))], routes);
  const page = await WatchedPage.open(browser, server.url);
  await page.shows('#scale', /^all 26; cells of one block each$/);
  page.assertClean(server.url);
});
