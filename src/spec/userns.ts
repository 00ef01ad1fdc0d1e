/** A user namespace of a container's: its ids, and those of the host. Pure. */

/** 0 to 65535 inside. */
export const USERNS_IDS = 65536;

export interface UserNamespace {
  /** File that it is persisted as. */
  readonly file: string;
  /** What 0 in there is on the host. */
  readonly hostId: number;
}
