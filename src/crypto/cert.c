/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>
#include <time.h>

#include "base/encode.h"
#include "base/random.h"
#include "base/str.h"
#include "crypto/cert_openssl.h"
#include "crypto/digest.h"
#include "crypto/key_openssl.h"
#include "crypto/key_pem.h"
#include "crypto/openssl_error.h"

#define DAY_MS ((msec_t)24 * 60 * 60 * 1000)
#define ROOT_DAYS 3650
#define INTERMEDIATE_DAYS 730
#define CLOCK_SLACK_MS ((msec_t)60 * 60 * 1000)
#define LEAF_SLACK_PART 10
#define CSR_PEM_MAX ((size_t)16 * 1024)
#define DNS_NAMES_MAX 64
#define NAME_PART_MAX 64 /* X.520 upper bound of a common name and an organisation */

static void x509_freep(X509 **x) {
        X509_free(*x);
}
static void x509_req_freep(X509_REQ **x) {
        X509_REQ_free(*x);
}
static void stack_freep(STACK_OF(X509) * *s) {
        cert_stack_free(*s);
}
static void bio_freep(BIO **b) {
        BIO_free_all(*b);
}

/* ---- reading */

STACK_OF(X509) * cert_stack_free(STACK_OF(X509) * s) {
        sk_X509_pop_free(s, X509_free);
        return NULL;
}

int cert_parse_pem(const char *pem, int max, STACK_OF(X509) * *ret, struct err **err) {
        size_t len = pem ? strnlen(pem, CERT_PEM_MAX + 1) : 0;
        if (len > CERT_PEM_MAX)
                return err_set(err, EINVAL, "certificates are longer than %d bytes", CERT_PEM_MAX);
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(len > 0 ? pem : "", (int)len);
        _cleanup_(stack_freep) STACK_OF(X509) *stack = sk_X509_new_null();
        if (!bio || !stack)
                return openssl_err_set(err, ENOMEM, "read certificates");
        for (;;) {
                X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
                if (!x)
                        break;
                if (sk_X509_num(stack) >= max) {
                        X509_free(x);
                        return err_set(err, EINVAL, "more than %d certificates", max);
                }
                if (sk_X509_push(stack, x) <= 0) {
                        X509_free(x);
                        return openssl_err_set(err, ENOMEM, "read certificates");
                }
        }
        if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
                return openssl_err_set(err, EINVAL, "certificate %d is damaged", sk_X509_num(stack) + 1);
        ERR_clear_error();
        if (sk_X509_num(stack) == 0)
                return err_set(err, EINVAL, "no certificate in PEM found");
        *ret = TAKE_PTR(stack);
        return 0;
}

static int parse_first(const char *pem, X509 **ret, struct err **err) {
        _cleanup_(stack_freep) STACK_OF(X509) *stack = NULL;
        int r = cert_parse_pem(pem, CERT_BUNDLE_MAX, &stack, err);
        if (r < 0)
                return r;
        *ret = sk_X509_shift(stack);
        return 0;
}

msec_t cert_time_ms(const ASN1_TIME *t) {
        struct tm tm;
        if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
                return 0;
        return (msec_t)timegm(&tm) * 1000;
}

int cert_uri_names(const X509 *x, char **ret_first, size_t *ret_count) {
        GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
        _cleanup_(x_freep) char *first = NULL;
        size_t count = 0;
        int r = 0;
        for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
                const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
                if (name->type != GEN_URI)
                        continue;
                if (count++ > 0)
                        continue;
                const char *text = (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier);
                int len = ASN1_STRING_length(name->d.uniformResourceIdentifier);
                if (len <= 0 || len > SPIFFE_ID_MAX || memchr(text, '\0', (size_t)len))
                        continue;
                first = str_dup_n(text, (size_t)len);
                if (!first)
                        r = -ENOMEM;
        }
        GENERAL_NAMES_free(names);
        ERR_clear_error();
        if (r < 0)
                return r;
        *ret_first = TAKE_PTR(first);
        *ret_count = count;
        return 0;
}

static int to_pem(X509 *x, char **ret, struct err **err) {
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!bio || PEM_write_bio_X509(bio, x) != 1)
                return openssl_err_set(err, EIO, "write certificate");
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        char *copy = str_dup_n(data, (size_t)len);
        if (!copy)
                return err_set(err, ENOMEM, "out of memory");
        *ret = copy;
        return 0;
}

void cert_info_done(struct cert_info *i) {
        if (!i)
                return;
        free(i->spiffe_id);
        free(i->public_key);
        *i = (struct cert_info){0};
}

int cert_inspect(const char *pem, struct cert_info *ret, struct err **err) {
        _cleanup_(x509_freep) X509 *x = NULL;
        int r = parse_first(pem, &x, err);
        if (r < 0)
                return r;

        struct cert_info info = {0};
        const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
        int serial_len = ASN1_STRING_length(serial);
        if (serial_len <= 0 || (size_t)serial_len * 2 >= sizeof(info.serial))
                return err_set(err, EINVAL, "certificate has a serial number of %d bytes", serial_len);
        hex_encode(ASN1_STRING_get0_data(serial), (size_t)serial_len, info.serial);

        uint8_t digest[SHA256_SIZE];
        unsigned digest_len = sizeof(digest);
        if (X509_digest(x, EVP_sha256(), digest, &digest_len) != 1)
                return openssl_err_set(err, EIO, "digest certificate");
        hex_encode(digest, sizeof(digest), info.fingerprint);
        info.not_before = cert_time_ms(X509_get0_notBefore(x));
        info.not_after = cert_time_ms(X509_get0_notAfter(x));
        info.is_ca = X509_check_ca(x) > 0;
        size_t count = 0;
        r = cert_uri_names(x, &info.spiffe_id, &count);
        if (r < 0)
                return err_set(err, -r, "out of memory");
        EVP_PKEY *key = X509_get0_pubkey(x);
        r = key ? evp_write_public(key, &info.public_key, err)
                : openssl_err_set(err, EINVAL, "read the certificate's key");
        if (r < 0) {
                cert_info_done(&info);
                return r;
        }
        ERR_clear_error();
        *ret = info;
        return 0;
}

int cert_public_key(const char *pem, struct key **ret, struct err **err) {
        _cleanup_(x509_freep) X509 *x = NULL;
        int r = parse_first(pem, &x, err);
        if (r < 0)
                return r;
        EVP_PKEY *evp = X509_get0_pubkey(x);
        if (!evp)
                return openssl_err_set(err, EINVAL, "read the certificate's public key");
        return key_wrap_evp(evp, ret, err);
}

int cert_pin_of_root(const char *pem_chain, char out[65], struct err **err) {
        _cleanup_(stack_freep) STACK_OF(X509) *stack = NULL;
        int r = cert_parse_pem(pem_chain, CERT_BUNDLE_MAX, &stack, err);
        if (r < 0)
                return r;
        unsigned char *der = NULL;
        const X509 *root = sk_X509_value(stack, sk_X509_num(stack) - 1);
        int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(root), &der);
        if (len <= 0)
                return openssl_err_set(err, EINVAL, "read the root's public key");
        sha256_hex(der, (size_t)len, out);
        OPENSSL_free(der);
        return 0;
}

/* ---- making */

struct profile {
        const char *common_name;  /* NULL: empty subject */
        const char *organisation; /* or NULL */
        const char *subject_serial;
        const char *basic_constraints, *key_usage, *extended_key_usage;
        const char *uri;
        const char *const *dns_names;
        msec_t not_before, not_after;
};

static bool add_name(X509_NAME *name, const char *field, const char *value) {
        if (!value)
                return true;
        size_t len = strnlen(value, NAME_PART_MAX);
        return X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value, (int)len,
                                          -1, 0) == 1;
}

static bool add_extension(X509 *x, X509V3_CTX *context, int nid, const char *value) {
        if (!value)
                return true;
        X509_EXTENSION *extension = X509V3_EXT_nconf_nid(NULL, context, nid, value);
        bool ok = extension && X509_add_ext(x, extension, -1) == 1;
        X509_EXTENSION_free(extension);
        return ok;
}

static bool add_general_name(GENERAL_NAMES *names, int type, void *value) {
        GENERAL_NAME *name = value ? GENERAL_NAME_new() : NULL;
        if (!name)
                return false;
        GENERAL_NAME_set0_value(name, type, value);
        if (sk_GENERAL_NAME_push(names, name) > 0)
                return true;
        GENERAL_NAME_free(name);
        return false;
}

static ASN1_IA5STRING *ia5(const char *s) {
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (text && ASN1_STRING_set(text, s, (int)strlen(s)) != 1) {
                ASN1_IA5STRING_free(text);
                return NULL;
        }
        return text;
}

static bool is_address(const char *s) {
        uint8_t bytes[16];
        return inet_pton(AF_INET, s, bytes) == 1 || inet_pton(AF_INET6, s, bytes) == 1;
}

static bool dns_name_is_valid(const char *s) {
        size_t len = strnlen(s, 254);
        if (len == 0 || len > 253)
                return false;
        for (size_t i = 0; i < len; i++)
                if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z') ||
                      (s[i] >= '0' && s[i] <= '9') || s[i] == '-' || s[i] == '.' || s[i] == '*' ||
                      s[i] == '_'))
                        return false;
        return true;
}

/* Names are put in as values, never through OpenSSL's "type:value,..." text, so that a name with a comma
 * cannot smuggle in a second one. */
static bool add_alternative_names(X509 *x, const struct profile *p) {
        GENERAL_NAMES *names = GENERAL_NAMES_new();
        bool ok = names && add_general_name(names, GEN_URI, ia5(p->uri));
        for (size_t i = 0; ok && p->dns_names && p->dns_names[i]; i++) {
                const char *name = p->dns_names[i];
                if (is_address(name))
                        ok = add_general_name(names, GEN_IPADD, a2i_IPADDRESS(name));
                else
                        ok = add_general_name(names, GEN_DNS, ia5(name));
        }
        /* RFC 5280 section 4.2.1.6: critical when it is all the name there is. */
        ok = ok && X509_add1_ext_i2d(x, NID_subject_alt_name, names, p->common_name ? 0 : 1, 0) == 1;
        GENERAL_NAMES_free(names);
        return ok;
}

static bool set_serial(X509 *x) {
        uint8_t bytes[16];
        random_bytes(bytes, sizeof(bytes));
        bytes[0] = (uint8_t)((bytes[0] & 0x7f) | 0x40); /* positive, and always 16 bytes long */
        BIGNUM *number = BN_bin2bn(bytes, sizeof(bytes), NULL);
        bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
        BN_free(number);
        return ok;
}

static bool fill(X509 *x, EVP_PKEY *subject, X509 *issuer, const struct profile *p) {
        X509_NAME *name = X509_get_subject_name(x);
        if (X509_set_version(x, X509_VERSION_3) != 1 || !set_serial(x) ||
            !ASN1_TIME_set(X509_getm_notBefore(x), (time_t)(p->not_before / 1000)) ||
            !ASN1_TIME_set(X509_getm_notAfter(x), (time_t)(p->not_after / 1000)) ||
            X509_set_pubkey(x, subject) != 1 || !add_name(name, "O", p->organisation) ||
            !add_name(name, "CN", p->common_name) || !add_name(name, "serialNumber", p->subject_serial) ||
            X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x)) != 1)
                return false;

        X509V3_CTX context;
        X509V3_set_ctx(&context, issuer ? issuer : x, x, NULL, NULL, 0);
        return add_extension(x, &context, NID_basic_constraints, p->basic_constraints) &&
               add_extension(x, &context, NID_key_usage, p->key_usage) &&
               add_extension(x, &context, NID_ext_key_usage, p->extended_key_usage) &&
               add_extension(x, &context, NID_subject_key_identifier, "hash") &&
               /* A root's own key identifier is the one just added. */
               add_extension(x, &context, NID_authority_key_identifier, "keyid:always") &&
               add_alternative_names(x, p);
}

/* issuer NULL: self-signed. */
static int make(struct key *subject, X509 *issuer, struct key *signer, const struct profile *p,
                char **ret_pem, struct err **err) {
        _cleanup_(x509_freep) X509 *x = X509_new();
        if (!x || !fill(x, key_evp(subject), issuer, p))
                return openssl_err_set(err, EIO, "build certificate for %s", p->uri);
        if (X509_sign(x, key_evp(signer), EVP_sha256()) <= 0)
                return openssl_err_set(err, EIO, "sign certificate for %s", p->uri);
        return to_pem(x, ret_pem, err);
}

/* CA certificates get subjects that never repeat: verifiers find issuers by subject, and two of the same
 * name make them try the wrong one. */
static void unique_serial(char out[33]) {
        uint8_t bytes[16];
        random_bytes(bytes, sizeof(bytes));
        hex_encode(bytes, sizeof(bytes), out);
}

static int check_domain(const char *domain, struct err **err) {
        if (!trust_domain_is_valid(domain))
                return err_set(err, EINVAL, "trust domain \"%s\" must be 1 to %d of a-z, 0-9, '.', '-', '_'",
                               domain ? domain : "", TRUST_DOMAIN_MAX);
        return 0;
}

int cert_make_root(struct key *k, const char *domain, msec_t now, char **ret_pem, struct err **err) {
        int r = check_domain(domain, err);
        if (r < 0)
                return r;
        char serial[33];
        unique_serial(serial);
        _cleanup_(x_freep) char *uri = spiffe_id_make(domain, IDENTITY_OTHER, "");
        if (!uri)
                return err_set(err, ENOMEM, "out of memory");
        struct profile p = {
                .common_name = "Skerry root",
                .organisation = domain,
                .subject_serial = serial,
                .basic_constraints = "critical,CA:TRUE",
                .key_usage = "critical,keyCertSign,cRLSign",
                .uri = uri,
                .not_before = now - CLOCK_SLACK_MS,
                .not_after = now + ROOT_DAYS * DAY_MS,
        };
        return make(k, NULL, k, &p, ret_pem, err);
}

/* The issuer, after checking that it may issue and that the key is its own. */
static int load_issuer(const char *pem, struct key *key, X509 **ret, struct err **err) {
        _cleanup_(x509_freep) X509 *issuer = NULL;
        int r = parse_first(pem, &issuer, err);
        if (r < 0) {
                err_wrap(err, "read issuer");
                return r;
        }
        if (X509_check_ca(issuer) != 1)
                return openssl_err_set(err, EINVAL, "the issuer's certificate is not one of a CA");
        if (X509_check_private_key(issuer, key_evp(key)) != 1)
                return openssl_err_set(err, EINVAL, "the issuer's key does not fit its certificate");
        *ret = TAKE_PTR(issuer);
        return 0;
}

int cert_make_intermediate(struct key *subject, const char *domain, const char *issuer_pem,
                           struct key *issuer_key, msec_t now, char **ret_pem, struct err **err) {
        _cleanup_(x509_freep) X509 *issuer = NULL;
        int r = check_domain(domain, err);
        if (r >= 0)
                r = load_issuer(issuer_pem, issuer_key, &issuer, err);
        if (r < 0)
                return r;
        char serial[33];
        unique_serial(serial);
        _cleanup_(x_freep) char *uri = spiffe_id_make(domain, IDENTITY_OTHER, "");
        if (!uri)
                return err_set(err, ENOMEM, "out of memory");
        struct profile p = {
                .common_name = "Skerry intermediate",
                .organisation = domain,
                .subject_serial = serial,
                .basic_constraints = "critical,CA:TRUE,pathlen:1",
                .key_usage = "critical,keyCertSign,cRLSign",
                .uri = uri,
                .not_before = now - CLOCK_SLACK_MS,
                .not_after = MIN(now + INTERMEDIATE_DAYS * DAY_MS, cert_time_ms(X509_get0_notAfter(issuer))),
        };
        return make(subject, issuer, issuer_key, &p, ret_pem, err);
}

/* A CA of ours carries its trust domain as URI SAN; it issues for no other. */
static int check_issuer_domain(const X509 *issuer, const char *spiffe_id, struct err **err) {
        _cleanup_(x_freep) char *issuer_id = NULL, *issuer_domain = NULL, *issuer_path = NULL;
        _cleanup_(x_freep) char *domain = NULL, *path = NULL;
        size_t count = 0;
        int r = spiffe_id_parse(spiffe_id, &domain, &path, err);
        if (r < 0)
                return r;
        if (path[0] == '\0')
                return err_set(err, EINVAL, "SPIFFE ID \"%s\" has no path; a leaf needs one", spiffe_id);
        r = cert_uri_names(issuer, &issuer_id, &count);
        if (r < 0)
                return err_set(err, -r, "out of memory");
        if (!issuer_id)
                return 0;
        r = spiffe_id_parse(issuer_id, &issuer_domain, &issuer_path, err);
        if (r < 0) {
                err_wrap(err, "read issuer");
                return r;
        }
        if (!str_eq(domain, issuer_domain))
                return err_set(err, EINVAL, "the CA of trust domain %s cannot issue for %s", issuer_domain,
                               spiffe_id);
        return 0;
}

int cert_issue(struct key *subject_public, const struct cert_request *request, const char *issuer_pem,
               struct key *issuer_key, msec_t now, char **ret_pem, struct err **err) {
        _cleanup_(x509_freep) X509 *issuer = NULL;
        int r = load_issuer(issuer_pem, issuer_key, &issuer, err);
        if (r >= 0)
                r = check_issuer_domain(issuer, request->spiffe_id, err);
        if (r < 0)
                return r;
        for (size_t i = 0; request->dns_names && request->dns_names[i]; i++) {
                if (i >= DNS_NAMES_MAX)
                        return err_set(err, EINVAL, "more than %d names in one certificate", DNS_NAMES_MAX);
                if (!is_address(request->dns_names[i]) && !dns_name_is_valid(request->dns_names[i]))
                        return err_set(err, EINVAL, "\"%s\" is neither a DNS name nor an address",
                                       request->dns_names[i]);
        }
        msec_t not_after = MIN(request->not_after, cert_time_ms(X509_get0_notAfter(issuer)));
        if (not_after <= now)
                return err_set(err, EINVAL, "a certificate for %s would have expired already",
                               request->spiffe_id);

        const char *name = strrchr(request->spiffe_id, '/') + 1;
        msec_t slack = MIN((not_after - now) / LEAF_SLACK_PART, CLOCK_SLACK_MS);
        struct profile p = {
                .common_name = strlen(name) <= NAME_PART_MAX ? name : NULL,
                .basic_constraints = "critical,CA:FALSE",
                .key_usage = "critical,digitalSignature",
                .extended_key_usage = "serverAuth,clientAuth",
                .uri = request->spiffe_id,
                .dns_names = request->dns_names,
                .not_before = now - slack,
                .not_after = not_after,
        };
        return make(subject_public, issuer, issuer_key, &p, ret_pem, err);
}

/* ---- signing requests */

int csr_make(struct key *k, const char *common_name, char **ret_pem, struct err **err) {
        _cleanup_(x509_req_freep) X509_REQ *request = X509_REQ_new();
        _cleanup_(bio_freep) BIO *bio = BIO_new(BIO_s_mem());
        if (!request || !bio || X509_REQ_set_version(request, X509_REQ_VERSION_1) != 1 ||
            !add_name(X509_REQ_get_subject_name(request), "CN", common_name) ||
            X509_REQ_set_pubkey(request, key_evp(k)) != 1 ||
            X509_REQ_sign(request, key_evp(k), EVP_sha256()) <= 0 ||
            PEM_write_bio_X509_REQ(bio, request) != 1)
                return openssl_err_set(err, EIO, "make signing request for %s", common_name);
        char *data = NULL;
        long len = BIO_get_mem_data(bio, &data);
        char *copy = str_dup_n(data, (size_t)len);
        if (!copy)
                return err_set(err, ENOMEM, "out of memory");
        *ret_pem = copy;
        return 0;
}

int csr_check(const char *csr_pem, struct key **ret_public, struct err **err) {
        size_t len = csr_pem ? strnlen(csr_pem, CSR_PEM_MAX + 1) : 0;
        if (len > CSR_PEM_MAX)
                return err_set(err, EINVAL, "signing request is longer than %zu bytes", CSR_PEM_MAX);
        _cleanup_(bio_freep) BIO *bio = BIO_new_mem_buf(len > 0 ? csr_pem : "", (int)len);
        if (!bio)
                return openssl_err_set(err, ENOMEM, "read signing request");
        _cleanup_(x509_req_freep) X509_REQ *request = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
        if (!request)
                return openssl_err_set(err, EINVAL, "not a signing request in PEM");
        EVP_PKEY *evp = X509_REQ_get0_pubkey(request);
        if (!evp)
                return openssl_err_set(err, EINVAL, "read the signing request's key");
        _cleanup_(key_freep) struct key *k = NULL;
        int r = key_wrap_evp(evp, &k, err);
        if (r < 0) {
                err_wrap(err, "signing request");
                return r;
        }
        if (X509_REQ_verify(request, evp) != 1)
                return openssl_err_set(err, EKEYREJECTED,
                                       "the signing request is not signed by the key it carries");
        *ret_public = TAKE_PTR(k);
        return 0;
}
