/** When a main command that has ended is started again. Pure. */
import { InvalidInputError } from '../errors.ts';

/** As container.json has it; absent for never. */
export interface RestartSpec {
  readonly policy: 'on-failure' | 'always' | 'unless-stopped';
  /** Of `on-failure`: how often; absent for ever. */
  readonly max?: number | undefined;
}

/** docker's words; undefined for `no`. Throws InvalidInputError. */
export function parseRestart(text: string): RestartSpec | undefined {
  if (text === 'no') return undefined;
  if (text === 'always' || text === 'unless-stopped' || text === 'on-failure') return { policy: text };
  const max = Number(/^on-failure:([1-9]\d{0,5})$/.exec(text)?.[1] ?? 0);
  if (max > 0) return { policy: 'on-failure', max };
  throw new InvalidInputError(`cannot use --restart ${JSON.stringify(text)}: not a restart policy`, {
    hint: 'no, on-failure, on-failure:3, always or unless-stopped',
  });
}

export function formatRestart({ policy, max }: RestartSpec): string {
  return max === undefined ? policy : `${policy}:${max}`;
}
