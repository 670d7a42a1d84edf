/** Debian's Chromium, driven by playwright-core, and what a test asks of the page that --web serves. */
import assert from 'node:assert/strict';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';
import { until } from './processes.ts';

const PROGRAM = '/usr/bin/chromium';

/** Disposing it closes all its pages. */
export async function startBrowser(): Promise<Browser> {
  // Root has no sandbox to give; the pages are this project's own.
  return await chromium.launch({ executablePath: PROGRAM, args: ['--no-sandbox', '--disable-gpu'] });
}

/** A page, with everything that went wrong in it. */
export class WatchedPage {
  readonly page: Page;
  /** Messages of the console, exceptions, refusals of the policy, dialogs. */
  readonly trouble: string[] = [];
  /** Hosts that it has asked. */
  readonly hosts = new Set<string>();

  private constructor(page: Page) {
    this.page = page;
    page.on('pageerror', (error) => this.trouble.push(String(error)));
    page.on('console', (message) => {
      // What the program does not answer, while it is not running, is no fault of the page.
      if (message.type() === 'error' && !message.text().startsWith('Failed to load resource'))
        this.trouble.push(message.text());
    });
    page.on('dialog', (dialog) => {
      this.trouble.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => this.hosts.add(new URL(request.url()).host));
  }

  static async open(
    browser: Browser,
    url: string,
    options: BrowserContextOptions = {},
  ): Promise<WatchedPage> {
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
    const opened = new WatchedPage(await context.newPage());
    await opened.page.goto(url);
    return opened;
  }

  /** All that a person can read. */
  async text(): Promise<string> {
    return await this.page.innerText('body');
  }

  async textOf(selector: string): Promise<string> {
    return (await this.page.innerText(selector)).trim();
  }

  /** By the words in the table under the map. */
  async counts(): Promise<Record<string, number>> {
    const rows = await this.page.$$eval('#legend tbody tr', (all) =>
      all.map((row) => [...row.children].map((cell) => cell.textContent)),
    );
    return Object.fromEntries(
      rows
        .map(([name = '', count = '']) => [name, Number(count.replaceAll(',', ''))])
        .filter(([, count]) => count),
    ) as Record<string, number>;
  }

  /** Until a part of the page has such a text. @throws ProcessFailure with the page's text. */
  async shows(selector: string, pattern: RegExp, timeoutMs = 20_000): Promise<void> {
    const isShown = async (): Promise<boolean> => pattern.test(await this.textOf(selector));
    await until(`${String(pattern)} in ${selector}`, isShown, timeoutMs);
  }

  /** Nothing has gone wrong, and nobody else was asked. */
  assertClean(url: string): void {
    assert.deepEqual(this.trouble, []);
    assert.deepEqual([...this.hosts], [new URL(url).host]);
  }
}
