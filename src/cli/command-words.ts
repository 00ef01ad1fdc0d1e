/** `NAME CMD…`: from the first word of CMD on all is CMD's, as with docker, while options stand on either side of NAME. */
import type { Command } from 'commander';

/** How many words the option at `word` takes, itself included. */
function optionWords(command: Command, word: string): number {
  const takesValue = (flag: string) =>
    command.options.find(({ long, short }) => flag === long || flag === short)?.required === true;
  if (word.startsWith('--')) return takesValue(word) ? 2 : 1;
  // `-de K=V` is `-d -e K=V`, and `-eK=V` has its value in it.
  const letters = [...word.slice(1)];
  const at = letters.findIndex((letter) => takesValue(`-${letter}`));
  return at >= 0 && at === letters.length - 1 ? 2 : 1;
}

/** The words of a verb whose operands are NAME and CMD, with `--` before CMD. */
export function commandAfterDashes(command: Command, words: readonly string[]): string[] {
  let names = 0;
  for (let at = 0; at < words.length; ) {
    const word = words[at] as string;
    if (word === '--') break;
    if (word.startsWith('-') && word !== '-') at += optionWords(command, word);
    else if (names === 1) return [...words.slice(0, at), '--', ...words.slice(at)];
    else {
      names += 1;
      at += 1;
    }
  }
  return [...words];
}
