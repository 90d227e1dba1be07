// Exports with a token: a link cannot carry one, so the file is fetched and then saved.

import * as api from './api.js';
import { t } from './i18n.js';
import { isLocked, token } from './token.js';

/** An export may take long; it ends by itself only where the page is left. */
const NEVER = new AbortController().signal;

/** Has every link with `download` go with the token, where there is one. */
export function watch() {
  document.addEventListener('click', (event) => {
    const link = event.target.closest?.('a[download]');
    if (!link || link.href.startsWith('blob:') || (token() === null && !isLocked())) return;
    event.preventDefault();
    if (link.ariaBusy !== 'true') save(link);
  });
}

async function save(link) {
  const words = link.textContent;
  link.ariaBusy = 'true';
  link.textContent = t('exporting');
  try {
    const response = await api.request(link.getAttribute('href'), { signal: NEVER });
    const file = document.createElement('a');
    file.href = URL.createObjectURL(await response.blob());
    file.download = fileName(response.headers.get('content-disposition'));
    file.click();
    setTimeout(() => URL.revokeObjectURL(file.href), 60_000);
    link.title = '';
    link.textContent = words;
  } catch (error) {
    link.textContent = t('exportFailed', { why: error.message });
    setTimeout(() => { link.textContent = words; }, 5_000);
  } finally {
    link.ariaBusy = 'false';
  }
}

/** The name that the API gives. @param {string | null} disposition */
export function fileName(disposition) {
  return /filename="([^"\\/]+)"/.exec(disposition ?? '')?.[1] ?? 'dados.csv';
}
