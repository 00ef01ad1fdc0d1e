/** What this process may do, and what the host's mandatory access control may deny. */
import { type Check, fail, isRoot, pass, readSetting, warn } from './check.ts';

export function checkRoot(): Check {
  return isRoot() ? pass('root', 'yes') : fail('root', 'no', 'sudo minict system doctor');
}

export function checkSelinux(): Check {
  if (readSetting('/sys/fs/selinux/enforce') !== '1') return pass('SELinux', 'not enforcing');
  const detail = "enforcing: it may deny programs the container's files; ausearch -m avc -ts recent shows what";
  return warn('SELinux', detail, 'setenforce 0');
}
