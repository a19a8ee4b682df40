/* SPDX-License-Identifier: Apache-2.0 */
#include "base/macros.h"

int main(void) {
        return 0;
}
