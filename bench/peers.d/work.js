function plain(r) {
    return r.headersIn['X-Forwarded-Proto'] === 'https' || r.variables.scheme === 'https' ? '' : '1';
}

function took(r) {
    return r.method + ' ' + Math.floor(r.status / 100) + 'xx ' + r.variables.request_time;
}

export default { plain, took };
