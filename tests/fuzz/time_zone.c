/* SPDX-License-Identifier: Apache-2.0 */
/* A time zone's file from a disk that may be damaged: what is taken answers for every time. */
#include <stdlib.h>

#include "fleet/time_zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static const int64_t moments[] = {-4000000000, 0, 1790000000, 4102444800, 250000000000};
        struct time_zone *z = NULL;
        int64_t day, seconds;
        if (time_zone_parse(data, size, &z, NULL) < 0)
                return 0;
        for (size_t i = 0; i < sizeof(moments) / sizeof(moments[0]); i++) {
                time_zone_local(z, moments[i], &day, &seconds);
                if (seconds < 0 || seconds >= 86400)
                        abort();
                (void)time_zone_moment(z, day, seconds);
        }
        time_zone_free(z);
        return 0;
}
