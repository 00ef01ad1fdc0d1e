/** What a check says: one line of `minict why`. */

/** In the documentation each of them has its line. */
export type Cause =
  | 'stopped'
  | 'nic-down'
  | 'no-address'
  | 'wrong-mask'
  | 'no-route'
  | 'no-way-back'
  | 'forwarding-off'
  | 'rp-filter'
  | 'bridge-port'
  | 'br-netfilter'
  | 'nft-rule'
  | 'arp'
  | 'not-listening'
  | 'not-published'
  | 'refused'
  | 'impaired'
  | 'mtu'
  | 'no-answer';

export interface Finding {
  readonly state: 'ok' | 'fail';
  /** Container (or `host`) and interface. */
  readonly where: string;
  readonly check: string;
  readonly found: string;
  readonly cause?: Cause;
  /** A command that mends it; a sentence where none can. */
  readonly fix?: string;
  /** A command that shows more of it, changes nothing, and ends by itself. */
  readonly look?: string;
  /** Another explanation may come further on: this one counts where none does. */
  readonly isUnsure?: true;
  /** It answers that it does not want the packet, and does not just lose it. */
  readonly refuses?: true;
}

export const ok = (where: string, check: string, found: string): Finding => ({ state: 'ok', where, check, found });

/** What follows: `fix` mends, `look` tells more. */
export type Advice = Pick<Finding, 'fix' | 'look'>;

export function fail(where: string, check: string, cause: Cause, found: string, advice: string | Advice): Finding {
  return { state: 'fail', where, check, found, cause, ...(typeof advice === 'string' ? { fix: advice } : advice) };
}
