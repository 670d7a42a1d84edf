/** Arguments that the launcher has moved into the environment, where other users cannot read them. */

const PLACE = /^ddt-argument:(\d+)$/;

/**
 * Puts them back, and takes them out of the environment: programs that are started inherit it.
 * @returns the words as they were typed.
 */
export function takeMovedArguments(
  words: readonly string[],
  environment: NodeJS.ProcessEnv,
): readonly string[] {
  return words.map((word) => {
    const [, number] = PLACE.exec(word) ?? [];
    if (number === undefined) return word;
    const name = `DDT_ARGUMENT_${number}`;
    const moved = environment[name];
    Reflect.deleteProperty(environment, name);
    return moved ?? word;
  });
}
