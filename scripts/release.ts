/** Tags a release: `npm run release`, with `-- --dry-run` only the checks. Pushing the tag is left to you. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { run, runOk } from '../test/support/run.ts';
import { runScript, runTool, Failure } from './run-script.ts';

const VERSION_FILE = 'common/protocol/version.ts';
/** The tests take minutes. */
const TESTS_TIMEOUT_MS = 3_600_000;
const REFUSED_STATUS = 4;

/** Why there can be no release, and the next command to type, if it is known. */
interface Problem {
  readonly message: string;
  readonly hint?: string;
}

interface Project {
  readonly folder: string;
  readonly version: string;
}

async function git({ folder }: Project, ...args: readonly string[]): Promise<string> {
  return await runOk('git', args, { cwd: folder });
}

async function findChanges(project: Project): Promise<Problem[]> {
  const changed = (await git(project, 'status', '--porcelain')).split('\n').filter((line) => line !== '');
  if (changed.length === 0) return [];
  return [{ message: `the working tree has ${changed.length} uncommitted changes`, hint: 'git status' }];
}

/** The version is in three files, as no command should read package.json only to print it. */
async function findOtherVersions({ folder, version }: Project): Promise<Problem[]> {
  const lockfile = JSON.parse(await readFile(join(folder, 'package-lock.json'), 'utf8')) as {
    version?: string;
    packages?: Readonly<Record<string, { version?: string }>>;
  };
  const inCode = /^export const VERSION = '([^']*)';$/m.exec(
    await readFile(join(folder, VERSION_FILE), 'utf8'),
  )?.[1];
  const problems: Problem[] = [];
  for (const found of new Set([lockfile.version, lockfile.packages?.['']?.version])) {
    if (found === version) continue;
    const message = `package-lock.json has version ${found}, package.json has ${version}`;
    problems.push({ message, hint: 'npm install --package-lock-only' });
  }
  if (inCode !== version) {
    problems.push({ message: `${VERSION_FILE} has version ${inCode}, package.json has ${version}` });
  }
  return problems;
}

async function findTag(project: Project): Promise<Problem[]> {
  const tag = tagOf(project);
  if ((await git(project, 'tag', '--list', tag)) === '') return [];
  return [{ message: `the tag ${tag} already exists: raise the version`, hint: `git show ${tag}` }];
}

function tagOf({ version }: Project): string {
  return `v${version}`;
}

interface Section {
  readonly title: string;
  readonly text: string;
}

/** The sections of the second level. */
function sectionsOf(changelog: string): Section[] {
  return changelog
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [title = '', ...lines] = section.split('\n');
      return { title: title.trim(), text: lines.join('\n').trim() };
    });
}

async function readChangelog({ folder }: Project): Promise<Section[]> {
  return sectionsOf(await readFile(join(folder, 'CHANGELOG.md'), 'utf8'));
}

/** undefined without a date that exists. */
function findSection(sections: readonly Section[], version: string): Section | undefined {
  return sections.find(({ title }) => {
    const [name, date = ''] = title.split(' - ');
    return name === `[${version}]` && new Date(`${date}T00:00Z`).toJSON()?.slice(0, 10) === date;
  });
}

async function findChangelogProblems(project: Project): Promise<Problem[]> {
  const sections = await readChangelog(project);
  const section = findSection(sections, project.version);
  const unreleased = sections.find(({ title }) => title === '[Unreleased]');
  const problems: Problem[] = [];
  if (section === undefined) {
    const wanted = `## [${project.version}] - <year>-<month>-<day>`;
    problems.push({ message: `CHANGELOG.md has no section with the heading ${wanted}` });
  } else if (section.text === '') {
    problems.push({ message: `CHANGELOG.md says nothing about ${project.version}` });
  }
  if (unreleased !== undefined && unreleased.text !== '') {
    problems.push({ message: 'CHANGELOG.md has entries under [Unreleased]: move them to the release' });
  }
  return problems;
}

async function tagRelease(project: Project): Promise<void> {
  const { text = '' } = findSection(await readChangelog(project), project.version) ?? {};
  const message = `dd-transfer ${project.version}\n\n${text}\n`;
  // The default cleanup would remove the headings, which begin with a #, as comments.
  const args = ['tag', '--annotate', '--cleanup=whitespace', '--file=-', tagOf(project)];
  await runOk('git', args, { cwd: project.folder, input: message });
}

async function release(args: string[], signal: AbortSignal): Promise<void> {
  const { values } = parseArgs({ args, options: { 'dry-run': { type: 'boolean', default: false } } });
  const folder = process.cwd();
  const { version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { version: string };
  const project: Project = { folder, version };
  const checks = [findChanges, findOtherVersions, findTag, findChangelogProblems];
  const problems = (await Promise.all(checks.map(async (check) => await check(project)))).flat();
  for (const { message, hint } of problems) {
    process.stderr.write(`release: error: ${message}\n`);
    if (hint !== undefined) process.stderr.write(`release: hint: ${hint}\n`);
  }
  if (problems.length > 0) throw new Failure(`${tagOf(project)} was not tagged`, REFUSED_STATUS);
  process.stdout.write('npm test\n');
  const tests = await run('npm', ['test'], { cwd: folder, signal, timeoutMs: TESTS_TIMEOUT_MS });
  if (tests.status !== 0) {
    process.stderr.write(`${tests.stdout}${tests.stderr}`);
    throw new Failure(`the tests fail: ${tagOf(project)} was not tagged`, REFUSED_STATUS);
  }
  // The tests may have left something behind.
  await runTool('git', ['diff', '--quiet', 'HEAD'], signal);
  if (values['dry-run']) {
    process.stdout.write(`${tagOf(project)} can be tagged (dry run)\n`);
    return;
  }
  await tagRelease(project);
  process.stdout.write(`tagged ${tagOf(project)}; to publish it: git push origin ${tagOf(project)}\n`);
}

await runScript('release', async (signal) => await release(process.argv.slice(2), signal));
