/** Lists of CPUs as cpuset(7) has them. */
import { InvalidInputError } from '../errors.ts';

/** `0-2,5` → 0 1 2 5. Throws InvalidInputError. */
export function cpuNumbers(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [, first, last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(part) ?? [];
    if (first === undefined || Number(last) < Number(first)) {
      throw new InvalidInputError(`cannot use --cpuset-cpus ${JSON.stringify(text)}: not a list of CPUs`, {
        hint: 'for example 0-2,5',
      });
    }
    return Array.from({ length: Number(last) - Number(first) + 1 }, (_, index) => Number(first) + index);
  });
}
