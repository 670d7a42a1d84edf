/** What a terminal can do. Pure. */

/** Whether lines can be redrawn: not in a file or a pipe, nor on a terminal without cursor movements. */
export function canDrawOn(stream: { readonly isTTY?: boolean }, term: string | undefined): boolean {
  return stream.isTTY === true && term !== undefined && term !== '' && term !== 'dumb';
}

/** Whether the terminal can show block characters (locale(7); the font of the Linux console lacks most). */
export function hasBlockCharacters(environment: NodeJS.ProcessEnv): boolean {
  const locale = environment['LC_ALL'] || environment['LC_CTYPE'] || environment['LANG'] || '';
  return /utf-?8/i.test(locale) && environment['TERM'] !== 'linux';
}
