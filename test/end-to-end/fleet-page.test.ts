/** The page of a real fleet in a real browser, and what programs get from the same server. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import type { Browser } from 'playwright-core';
import { WatchedPage, startBrowser } from '../support/browser.ts';
import { FleetScene } from '../support/fleet-scene.ts';
import { MIB, bounded } from '../support/processes.ts';
import { unlessInstalled } from '../support/requires.ts';

const skip = unlessInstalled('chromium', 'ssh', 'sshd', 'ssh-keygen');
let browser: Browser;
before(async () => {
  if (skip === false) browser = await startBrowser();
});
after(async () => {
  if (skip === false) await browser.close();
});

test('the page shows each job from its start to its end, and which have failed', { skip }, async () => {
  await using scene = await FleetScene.make();
  const rows = await scene.makeDisks(2, 2 * MIB);
  const bad = { name: 'away', source: '/nowhere/<b>x</b>', target: `loopback:${scene.folder}/x` };
  await scene.writeTable([...rows, bad]);
  const keyFile = join(scene.folder, 'key');
  const fleet = await scene.start(['--web', '--web-key-file', keyFile, '--bwlimit', '512K']);
  const [, url = ''] = await fleet.waitForLine(/^web {6}(http:\/\/127\.0\.0\.1:\d+\/#[\w-]+)$/);
  const watched = await WatchedPage.open(browser, url);
  await watched.shows('#link', /^Live$/);
  await watched.shows('#headline', /^2 running, 1 failed of 3$/);
  await watched.shows('#jobs', /^away\s+failed\s.*cannot use \/nowhere\/<b>x<\/b>: no such file/m);
  await watched.shows('#jobs', /^disk01\s+running\s+[\d.]+ (MiB|bytes) of 2 MiB\s+[\d.]+ [kM]bit\/s\s/m);
  await watched.shows('#trouble', /^A job has failed\. Correct the cause/);
  const names = await watched.page.$$eval('#jobs tbody th', (all) => all.map((one) => one.textContent));
  assert.deepEqual(names, ['away', 'disk01', 'disk02']);
  const snapshot = await watched.page.locator('body').ariaSnapshot();
  for (const part of [
    /heading "2 running/,
    /progressbar "Progress of disk01"/,
    /rowheader "away"/,
    /alert: A job/,
  ])
    assert.match(snapshot, part);
  const [origin = '', key = ''] = url.split('/#');
  const headers = { authorization: `Bearer ${key}` };
  const metrics = await (await fetch(`${origin}/metrics`, { headers })).text();
  assert.match(metrics, /^ddt_fleet_jobs\{state="running"\} 2$/m);
  assert.match(metrics, /^ddt_fleet_jobs\{state="failed"\} 1$/m);
  assert.equal((await fetch(`${origin}/fleet`)).status, 401);
  const events = await fetch(`${origin}/events`, { headers });
  const ended = await bounded('the end of the fleet', fleet.ended, 60_000);
  assert.equal(ended.status, 7, ended.stderr);
  assert.match(await events.text(), /\n\{"event":"fleet","status":7,.*\n$/);
  await watched.shows('#link', /^The program has ended/);
  await watched.shows('#headline', /^2 complete, 1 failed of 3$/);
  watched.assertClean(url);
});
