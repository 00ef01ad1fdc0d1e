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
  | 'refused'
  | 'mtu'
  | 'no-answer';

export interface Finding {
  readonly state: 'ok' | 'fail';
  /** Container (or `host`) and interface. */
  readonly where: string;
  readonly check: string;
  readonly found: string;
  readonly cause?: Cause;
  /** A command; a sentence where none can help. */
  readonly fix?: string;
  /** Another explanation may come further on: this one counts where none does. */
  readonly isUnsure?: true;
  /** It answers that it does not want the packet, and does not just lose it. */
  readonly refuses?: true;
}

export const ok = (where: string, check: string, found: string): Finding => ({ state: 'ok', where, check, found });

export function fail(where: string, check: string, cause: Cause, found: string, fix: string): Finding {
  return { state: 'fail', where, check, found, cause, fix };
}
