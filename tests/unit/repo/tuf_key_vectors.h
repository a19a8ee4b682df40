/* SPDX-License-Identifier: Apache-2.0 */
/* Public keys and the ids that python-tuf gives them. */
{"{\"keytype\": \"ed25519\", \"scheme\": \"ed25519\", \"keyval\": {\"public\": "
 "\"0d0a792bfb039cf19a1e1531c8c4cd46196487aeb54db6647e937b7fb3955cdc\"}}",
 "9a04f6dd8914dde1306060a61a09dea588b97e2a026acfaf79a6b2476ab6f158"},
        {"{\"keytype\": \"ecdsa\", \"scheme\": \"ecdsa-sha2-nistp256\", \"keyval\": {\"public\": "
         "\"-----BEGIN PUBLIC "
         "KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEuJDZM/iaWsb+cEnwSu+m09YLjMzI\\n1jmvixtjs65OyO/"
         "+4VlNk/FnoOqCaJVcf91U2qeCntBA33vt/LZBLEZWJQ==\\n-----END PUBLIC KEY-----\\n\"}}",
         "01a3eded4c8d3535790051290f945ad9c4e2d1e11fa2e010f71cfb281d9396b8"},
        {"{\"keytype\": \"rsa\", \"scheme\": \"rsassa-pss-sha256\", \"keyval\": {\"public\": \"-----BEGIN "
         "PUBLIC "
         "KEY-----\\nMIIBojANBgkqhkiG9w0BAQEFAAOCAY8AMIIBigKCAYEAqtWVCQuGsWBQI7ab7YJP\\nfmDC+"
         "Q28WGhTiz4pDxoIdF7cws2PwUgzOOELHX1U2hh11/"
         "HHos8dGQKD6QEwOMAK\\n4aOl8xMDVrjFyJqESOB7p8YZnDe5eMC8PmoSbnoh1znFncg9B0a6a4WnmHoI975r\\nwZSoPVL8cTe"
         "KypsgUIfPCDcSMVKehnBPjTOru5Hb7Qw/"
         "rf1NxUqD4ow0HWMLbsCU\\nlpyYqOPvIcTmlswPt00fs9w0MPeac+8lbkTZjaM37797UsgdUtH9f3hqHbmNw3BJ\\nOY+Yi3+"
         "pEXS6Y7MTlS5QQVfrB7dxVi6htnyk1Z9w9vO5mm1UzCn+wugX/"
         "PrwvfWZ\\nseCskomzVccE0+cNwyDT8IIIfVG46RDW2YoGFa9slibqBWnbLaHeu+C02C6b/"
         "v9T\\nz0znOCpyzRsjjMWduPGdf9uy7S/pxNFcOS/"
         "FmfZppedg9YqDKleIM0rYBkDoIq0F\\nWnkk3xzD+5aW0B8qlAa3lu9naczmRekaiMV9WKUcB1ojAgMBAAE=\\n-----END "
         "PUBLIC KEY-----\\n\"}}",
         "771033dc64556bcf6d5873e59f02096008e6c7d4e4ac9a575e20135b18756053"},
