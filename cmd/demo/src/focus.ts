import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';

/**
 * What has the focus may vanish or be switched off by what it does, and with it the place of whoever goes by keyboard
 * or listens. Then the box around it has the focus.
 */
export function useFocusKept(box: RefObject<HTMLElement | null>): void {
  const last = useRef<HTMLElement | undefined>(undefined);
  const gone = (e: HTMLElement) => !e.isConnected || e.matches(':disabled');
  useEffect(() => {
    const came = (e: FocusEvent) => void (last.current = e.target as HTMLElement);
    // It may be leaving because it vanishes just now.
    const went = (e: FocusEvent) => setTimeout(() => last.current == e.target && !gone(last.current) && (last.current = undefined));
    const b = box.current!;
    b.addEventListener('focusin', came);
    b.addEventListener('focusout', went);
    return () => {
      b.removeEventListener('focusin', came);
      b.removeEventListener('focusout', went);
    };
  }, []);
  useLayoutEffect(() => {
    const e = last.current;
    if (!e || !gone(e)) return;
    last.current = undefined;
    if ([e, document.body].includes(document.activeElement as HTMLElement)) box.current!.focus({ preventScroll: true });
  });
}
