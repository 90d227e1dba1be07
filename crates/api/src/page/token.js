// The token: asked for once the API wants one, and kept for this tab alone.

const KEY = 'ponte.token';
/** What a header can carry, and a token is made of. */
const SOUND = /^[\x21-\x7e]{1,4096}$/;

const at = (id) => document.getElementById(id);

/** A question that is open, shared by all requests that wait for its answer. @type {Promise<void> | null} */
let asking = null;
let dismissed = false;

/** @returns {string | null} */
export function token() {
  return sessionStorage.getItem(KEY);
}

/** Whether a token is needed and nobody gave one. */
export function isLocked() {
  return dismissed;
}

export function forget() {
  sessionStorage.removeItem(KEY);
  location.reload();
}

/**
 * Resolves once there is another token than the one that was refused; rejects when the person gives none.
 * @param {string | null} refused
 * @param {string} wrong what to say of a token that was refused
 */
export async function ask(refused, wrong) {
  if (token() !== refused) return;
  if (dismissed) throw new Error('no token');
  asking ??= show(refused === null ? '' : wrong).finally(() => { asking = null; });
  await asking;
}

/** Opens the question again after it was dismissed. */
export function reopen() {
  dismissed = false;
}

function show(wrong) {
  const [dialog, form, input] = [at('token-dialog'), at('token-form'), at('token-input')];
  at('token-wrong').textContent = wrong;
  input.value = '';
  dialog.showModal();
  input.focus();
  return new Promise((resolve, reject) => {
    const done = new AbortController();
    const on = (target, event, act) => target.addEventListener(event, act, { signal: done.signal });
    on(form, 'submit', (event) => {
      event.preventDefault();
      const given = input.value.trim();
      if (!SOUND.test(given)) {
        at('token-wrong').textContent = at('token-wrong').dataset.malformed;
        return;
      }
      sessionStorage.setItem(KEY, given);
      done.abort();
      dialog.close();
      input.value = '';
      resolve();
    });
    on(at('token-later'), 'click', () => dialog.close());
    on(dialog, 'close', () => {
      done.abort();
      dismissed = true;
      reject(new Error('no token'));
    });
  });
}
