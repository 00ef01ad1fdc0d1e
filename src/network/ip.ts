/** Commands of `ip`, as words of one line. Every name in them was validated to have no white space. */
import type { Command } from '../step.ts';

/** In the host's namespace, or in that of container `netns`. */
export function ip(words: string, netns?: string): Command & { kind: 'run' } {
  return { kind: 'run', argv: ['ip', ...words.split(' ')], ...(netns === undefined ? {} : { netns }) };
}
