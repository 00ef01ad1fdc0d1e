/** Who listens in a network namespace, by ss(8), which has no JSON. */
import { type Inside, readInside } from './run.ts';

export interface Listener {
  readonly protocol: 'tcp' | 'udp';
  /** Without a scope; `*` for all addresses of both families. */
  readonly ip: string;
  readonly port: number;
}

/** Undefined where ss is missing. */
export async function readListeners(inside: Inside, protocol: 'tcp' | 'udp'): Promise<Listener[] | undefined> {
  const output = await readInside(inside, ['ss', '-H', '-l', '-n', protocol === 'tcp' ? '-t' : '-u']);
  if (output?.exitCode !== 0) return undefined;
  return output.stdout.split('\n').flatMap((line) => {
    const local = line.trim().split(/\s+/)[3] ?? '';
    const at = local.lastIndexOf(':');
    const port = Number(local.slice(at + 1));
    if (at < 0 || !Number.isInteger(port)) return [];
    return {
      protocol,
      ip: local
        .slice(0, at)
        .replace(/%.*/, '')
        .replace(/^\[|\]$/g, ''),
      port,
    };
  });
}
