/** Manual pages and completions for shells, from the tables that `--help` prints. */
import { shellQuoted } from '../../common/text.ts';
import type { Command, Option } from 'commander';

/** What a value is called that is the name of a file. */
const FILE_VALUE = /<(file|dir|pem)>/;

/** A command, and all that its `--help` prints. */
export interface Manual {
  readonly command: Command;
  readonly help: string;
}

/** @param make the command; what is given to it prints its help. */
export function readManual(make: (print: (text: string) => void) => Command): Manual {
  let help = '';
  const command = make((text) => (help += text));
  command.outputHelp();
  return { command, help };
}

/** A page for man(1). */
export function manualPage({ command, help }: Manual, version: string): string {
  const name = command.name();
  const description = command.description().replaceAll('\n', ' ');
  const [summary = ''] = description.split('. ');
  const after = help.slice(help.indexOf('\nExamples:\n')).replace('\nExamples:\n', '').trimEnd();
  const [examples = '', statuses = ''] = after.split('\n\nExit status: ');
  return [
    `.TH ${roff(name.toUpperCase())} 1 "" "dd-transfer ${version}" "User Commands"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(summary.charAt(0).toLowerCase() + summary.slice(1).replace(/\.$/, ''))}`,
    '.SH SYNOPSIS',
    '.nf',
    ...`${name} ${command.usage()}`.split('\n').map((line) => roff(line.trim())),
    '.fi',
    '.SH DESCRIPTION',
    roff(description),
    '.SH OPTIONS',
    ...optionsOf(command).flatMap((option) => ['.TP', `.B ${roff(option.flags)}`, roff(meaningOf(option))]),
    '.SH EXAMPLES',
    '.nf',
    ...examples.split('\n').map(roff),
    '.fi',
    '.SH EXIT STATUS',
    roff(statuses.replaceAll('\n', ' ')),
    '',
  ].join('\n');
}

/** For bash; sourced. */
export function bashCompletion({ command }: Manual): string {
  const name = command.name();
  const options = optionsOf(command);
  const cases = options
    .filter(({ required }) => required)
    .map((option) => {
      const words = option.argChoices?.join(' ');
      const found = words === undefined ? (takesFile(option) ? '-f' : '') : `-W '${words}'`;
      const reply = found === '' ? 'COMPREPLY=()' : `mapfile -t COMPREPLY < <(compgen ${found} -- "$word")`;
      return `    ${option.long}) ${reply}; return ;;\n`;
    });
  return `_${name.replace('-', '_')}() {
  local word=\${COMP_WORDS[COMP_CWORD]}
  case \${COMP_WORDS[COMP_CWORD - 1]} in
${cases.join('')}  esac
  case $word in
    -*) mapfile -t COMPREPLY < <(compgen -W '${options.map(({ long }) => long).join(' ')}' -- "$word") ;;
    *) mapfile -t COMPREPLY < <(compgen -f -- "$word") ;;
  esac
}
complete -o filenames -F _${name.replace('-', '_')} ${name}
`;
}

/** For zsh; found in $fpath as `_<name>`. */
export function zshCompletion({ command }: Manual): string {
  const lines = optionsOf(command).map((option) => {
    const words = option.argChoices === undefined ? '' : `(${option.argChoices.join(' ')})`;
    const value = option.required ? `:value:${words || (takesFile(option) ? '_files' : ' ')}` : '';
    const meaning = option.description.replaceAll(/[[\]:\\]/g, (letter) => `\\${letter}`);
    return shellQuoted(`${option.long}[${meaning.replaceAll('\n', ' ')}]${value}`);
  });
  return `#compdef ${command.name()}\n_arguments ${[...lines, "'*:disk:_files'"].join(' \\\n  ')}\n`;
}

/** For fish; sourced. */
export function fishCompletion({ command }: Manual): string {
  const lines = optionsOf(command).map((option) => {
    const words = option.argChoices === undefined ? '' : ` -a '${option.argChoices.join(' ')}'`;
    const value = option.required ? (takesFile(option) ? ' -r -F' : ` -x${words}`) : '';
    const meaning = shellQuoted(option.description.replaceAll('\n', ' '));
    return `complete -c ${command.name()} -l ${option.long?.slice(2)}${value} -d ${meaning}\n`;
  });
  return lines.join('');
}

/** With `--help`, which commander adds. */
function optionsOf(command: Command): readonly Option[] {
  return command.createHelp().visibleOptions(command);
}

function takesFile({ flags }: Option): boolean {
  return FILE_VALUE.test(flags);
}

function meaningOf({ description, defaultValue, argChoices }: Option): string {
  const notes = [
    ...(argChoices === undefined ? [] : [`one of ${argChoices.join(', ')}`]),
    ...(typeof defaultValue === 'string' ? [`default: ${defaultValue}`] : []),
  ];
  const text = description.replaceAll('\n', ' ');
  return notes.length === 0 ? text : `${text} (${notes.join('; ')})`;
}

/** Text for roff(7): a dash that can be copied, no backslash and no point that means something. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replace(/^(?=[.'])/, '\\&');
}
